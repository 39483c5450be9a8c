/**
 * Requests that take their time on purpose. Node gives headers and body together as long as the largest upload may take; here
 * everything that is no upload of somebody with a key has come whole within seconds, or its connection is cut.
 */
import type { NextFunction, Request, RequestHandler, Response } from 'express';

/** Also when it was answered before: the rest of a body that nobody reads still holds the connection. */
export function mustComeWithin(ms: number): RequestHandler {
  return (req, res, next) => {
    const { 'content-length': length = '0', 'transfer-encoding': chunked } = req.headers;
    if (length !== '0' || chunked !== undefined) {
      const timer = setTimeout(() => !req.complete && req.socket.destroy(), ms).unref();
      res.locals.timer = timer;
      req.once('end', () => clearTimeout(timer));
    }
    next();
  };
}

/** For uploads, which see to it themselves that they do not stand still. */
export function mayTakeLong(_req: Request, res: Response, next: NextFunction): void {
  clearTimeout(res.locals.timer as NodeJS.Timeout | undefined);
  next();
}
