/**
 * Every error code of the product, in one union; api/problems.ts maps each to its HTTP status.
 * A thrown AppError carries no personal data: its message may reach logs and Temporal histories.
 */
export const ERROR_CODES = [
  /** The request is not well-formed: fields and reasons are in `issues`. */
  'INVALID',
  /** No key, or one that is not known or revoked. */
  'UNAUTHENTICATED',
  /** The key's role does not allow this. */
  'FORBIDDEN',
  'NOT_FOUND',
  /** The thing is in a state that does not allow it; `state` says which. */
  'CONFLICT',
  /** The contact has answered: Cancel comes too late. */
  'CANCEL_TOO_LATE',
  /** The offer is over, or another one has taken its place. */
  'OFFER_OVER',
  /** The call is over, or a newer one has started. */
  'CALL_OVER',
  /** What was registered does not fit the topics of the campaign: what is missing or wrong is in `issues`. */
  'TOPICS_MISMATCH',
  /** The contact's round is closed: nothing can be done to it. */
  'CONTACT_CLOSED',
  /** An import is running on this campaign. */
  'IMPORT_RUNNING',
  /** The same Idempotency-Key with another request, or still being carried out. */
  'IDEMPOTENCY_CONFLICT',
  'TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'TOO_MANY_REQUESTS',
  /** PostgreSQL, Temporal or the switch can't be reached: outcome unknown, repeat with the same key. */
  'UNAVAILABLE',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export interface ErrorDetails {
  /** Present state of the thing, for a conflict. */
  state?: string;
  /** What is wrong where. */
  issues?: { field: string; reason: string }[];
}

export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = 'AppError';
    this.code = code;
    this.details = details;
  }
}

/** Of a contact for whom no workflow is under way (any more). */
export const isContactClosed = (error: unknown): boolean => error instanceof AppError && error.code === 'CONTACT_CLOSED';
