import type { RequestHandler } from 'express';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';

/** Figures that are read from the database are left out when it takes longer. */
export const READ_WITHIN_MS = 1_500;

export interface Metrics {
  registry: Registry;
  /** Measures a request under its route's path, so that ids and numbers make no series of their own. */
  measure(path: string): RequestHandler;
}

/** A registry of its own for each app, so that two in one process (in tests) don't meet. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Duration of HTTP requests; of streams, how long they were open',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers: [registry],
  });
  return {
    registry,
    measure: (path) => (req, res, next) => {
      const stop = duration.startTimer({ method: req.method, route: path });
      res.on('close', () => stop({ status: res.statusCode }));
      next();
    },
  };
}
