import { AppError } from '../domain/errors.ts';

/** The switch can't be reached or does not answer: what became of the command is unknown. */
export class TelephonyUnavailable extends AppError {
  constructor(message: string) {
    super('UNAVAILABLE', message);
    this.name = 'TelephonyUnavailable';
  }
}
