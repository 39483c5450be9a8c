/** Where a leg is sent: an endpoint of Asterisk, made from a pattern of the settings. */
import { AppError } from '../../domain/errors.ts';
import { isTelephoneNumber } from '../../domain/numbers.ts';

export interface Endpoints {
  /** For telephone numbers, contacts' and agents': `PJSIP/{number}@carrier`; `{digits}` is the number without its plus. */
  trunk: string;
  /** For agents' extensions: `PJSIP/{extension}`. */
  agents: string;
}

/** The endpoint for a leg. Throws INVALID for what could mean something else to Asterisk than a name or a number. */
export function endpointOf({ trunk, agents }: Endpoints, to: string): string {
  if (!/^\+?[\w.*#-]{1,64}$/.test(to)) throw new AppError('INVALID', 'this is neither a number nor an extension');
  return isTelephoneNumber(to)
    ? trunk.replaceAll('{number}', to).replaceAll('{digits}', to.slice(1))
    : agents.replaceAll('{extension}', to);
}
