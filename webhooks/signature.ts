/** The signature scheme of Standard Webhooks 1.0.0: HMAC-SHA256 of id, time and body, by every secret that is valid. */
import { createHmac, randomBytes } from 'node:crypto';

const PREFIX = 'whsec_';

/** 256 random bits. */
export const newSecret = (): string => PREFIX + randomBytes(32).toString('base64');

export interface OldSecret {
  secret: string;
  /** ISO 8601: it signs until then. */
  until: string;
}

/** Those of the secrets before that still sign at `now`, the newest first. */
export const validSecrets = (old: readonly OldSecret[], now: Date): OldSecret[] =>
  old.filter(({ until }) => new Date(until) > now);

/** The three headers of an attempt at `now`: the id is of the delivery, the time of the attempt. */
export function signedHeaders(secrets: readonly string[], id: string, now: Date, body: string): Record<string, string> {
  const seconds = Math.floor(now.getTime() / 1000);
  const signed = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${seconds}.`).update(body).digest('base64')}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': signed.join(' ') };
}
