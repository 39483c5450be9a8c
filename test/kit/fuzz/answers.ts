/** Sends what was made up, and says what is wrong with the answer by the document. */
import { Agent, type IncomingMessage, request as send } from 'node:http';
import { text } from 'node:stream/consumers';
import { problemSchema } from '../../../api/problems.ts';
import { asText, type FuzzRequest } from './requests.ts';

export interface FuzzAnswer {
  status: number;
  headers: IncomingMessage['headers'];
  /** '' of a stream, which has no end to wait for. */
  text: string;
}

/** Longer than anything may take that is neither an upload nor a report. */
const ANSWERED_WITHIN_MS = 10_000;

export class Client {
  readonly #url: string;
  readonly #keys: Readonly<Record<string, string>>;
  readonly #agent: Agent;

  /** `keys`: by the name of the caller; one without a key sends none. */
  constructor(url: string, keys: Readonly<Record<string, string>>) {
    this.#url = url;
    this.#keys = keys;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 16 });
  }

  close(): void {
    this.#agent.destroy();
  }

  ask({ operation, who, target, headers, body }: FuzzRequest): Promise<FuzzAnswer> {
    const key = this.#keys[who];
    return new Promise((resolve, reject) => {
      const request = send(
        `${this.#url}/`,
        {
          method: operation.method,
          path: target,
          agent: this.#agent,
          headers: { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...headers, ...(body ? { 'Content-Length': body.length } : {}) },
          timeout: ANSWERED_WITHIN_MS,
        },
        (response) => void read(response).then(resolve, reject),
      );
      request.on('timeout', () => request.destroy(new Error(`no answer within ${ANSWERED_WITHIN_MS / 1000} s`)));
      request.on('error', reject);
      request.end(body ?? undefined);
    });
  }
}

async function read(response: IncomingMessage): Promise<FuzzAnswer> {
  const { statusCode: status = 0, headers } = response;
  if (headers['content-type']?.startsWith('text/event-stream')) {
    response.on('error', () => undefined).destroy();
    return { status, headers, text: '' };
  }
  return { status, headers, text: await text(response) };
}

export const isRefused = ({ status }: FuzzAnswer): boolean => status >= 400 && status < 500;

/** What is wrong with an answer, by the document; null: nothing. */
export function wrongWith({ operation }: FuzzRequest, answer: FuzzAnswer): string | null {
  const { status, headers, text } = answer;
  const documented = operation.answers[status];
  if (status >= 500 && !(status === 503 && documented)) return 'the server has failed';
  if (!documented) return `the status is not documented for this route: ${Object.keys(operation.answers).join(', ')}`;
  if (status >= 400 && !('application/json' in documented)) return wrongProblem(answer);
  if (status === 204) return text === '' ? null : '204 has a body';
  const [type = ''] = (headers['content-type'] ?? '').split(';');
  const check = documented[type];
  if (!check) return `content of type ${type} is not documented: ${Object.keys(documented).join(', ')}`;
  if (type !== 'application/json') return null;
  const read = check.safeParse(JSON.parse(text));
  return read.success ? null : `the body does not fit its schema: ${read.error.message}`;
}

function wrongProblem({ status, headers, text }: FuzzAnswer): string | null {
  if (headers['content-type'] !== 'application/problem+json; charset=utf-8') return `is told as ${headers['content-type']}`;
  const read = problemSchema.safeParse(JSON.parse(text));
  if (!read.success) return `is no problem: ${read.error.message}`;
  if (read.data.status !== status) return `says it has status ${read.data.status}`;
  if (status === 503 && !headers['retry-after']) return 'has no Retry-After';
  if (status === 400 && text.length > 200_000) return `is told in ${text.length} characters`;
  return null;
}

export const shown = (request: FuzzRequest, { status, text }: FuzzAnswer): string =>
  `${asText(request)}\n→ ${status} ${text.slice(0, 1_500)}`;
