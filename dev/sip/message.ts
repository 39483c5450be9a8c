/** SIP messages (RFC 3261): read from a datagram, and composed. Only what a user agent over UDP needs. */
import { randomBytes } from 'node:crypto';

const COMPACT: Readonly<Record<string, string>> = {
  v: 'via',
  f: 'from',
  t: 'to',
  i: 'call-id',
  m: 'contact',
  l: 'content-length',
  c: 'content-type',
  k: 'supported',
};

const PHRASES: Readonly<Record<number, string>> = {
  100: 'Trying',
  180: 'Ringing',
  181: 'Call Is Being Forwarded',
  183: 'Session Progress',
  200: 'OK',
  302: 'Moved Temporarily',
  404: 'Not Found',
  405: 'Method Not Allowed',
  480: 'Temporarily Unavailable',
  481: 'Call/Transaction Does Not Exist',
  486: 'Busy Here',
  487: 'Request Terminated',
  488: 'Not Acceptable Here',
  503: 'Service Unavailable',
  603: 'Decline',
};

export class SipMessage {
  readonly start: string;
  /** Names are as written, values without the blanks around them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;

  constructor(start: string, headers: SipMessage['headers'], body = '') {
    this.start = start;
    this.headers = headers;
    this.body = body;
  }

  /** Null for what is no SIP, such as the blank lines of a keep-alive. */
  static parse(datagram: Buffer): SipMessage | null {
    const [head = '', ...body] = datagram.toString('utf8').split('\r\n\r\n');
    const [start = '', ...lines] = head.split('\r\n');
    if (!/^SIP\/2\.0 \d{3}|^[A-Z]+ \S+ SIP\/2\.0$/.test(start)) return null;
    const headers = lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()] as const;
    });
    return new SipMessage(start, headers, body.join('\r\n\r\n'));
  }

  all(name: string): string[] {
    const wanted = name.toLowerCase();
    return this.headers.flatMap(([each, value]) => (longName(each) === wanted ? [value] : []));
  }

  /** The first of that name, or ''. */
  get(name: string): string {
    return this.all(name)[0] ?? '';
  }

  /** Of a response: the status, else null. */
  get status(): number | null {
    return this.start.startsWith('SIP/') ? Number(this.start.split(' ')[1]) : null;
  }

  /** Of a response: the method that it answers. */
  get method(): string {
    return this.get('cseq').split(' ')[1] ?? '';
  }

  get cseq(): number {
    return parseInt(this.get('cseq'), 10);
  }

  get uri(): string {
    return this.start.split(' ')[1]!;
  }

  get callId(): string {
    return this.get('call-id');
  }

  get branch(): string {
    return /;branch=([^;,\s]+)/.exec(this.get('via'))?.[1] ?? '';
  }

  tag(header: 'from' | 'to'): string | undefined {
    return /;tag=([^;\s]+)/.exec(this.get(header))?.[1];
  }

  /** Same for a message and its retransmissions only (RFC 3261, 17). */
  get key(): string {
    return `${this.branch} ${this.get('cseq')} ${this.status ?? ''} ${this.tag('to') ?? ''}`;
  }

  toString(): string {
    const lines = this.headers.map(([name, value]) => `${name}: ${value}`);
    return [this.start, ...lines, `Content-Length: ${Buffer.byteLength(this.body)}`, '', this.body].join('\r\n');
  }
}

export interface Content {
  /** Whole lines: `Reason: Q.850;cause=17`. */
  headers?: string[];
  /** Content-Type of the body. */
  type?: string;
  body?: string;
}

export function requestOf(method: string, uri: string, headers: string[], content: Content = {}): SipMessage {
  const lines = ['Max-Forwards: 70', ...headers, ...linesOf(content)];
  return new SipMessage(`${method} ${uri} SIP/2.0`, lines.map(toHeader), content.body);
}

/** `tag` is set in To where the request has none. */
export function responseTo(request: SipMessage, status: number, tag: string, content: Content = {}): SipMessage {
  const to = request.get('to') + (status > 100 && !request.tag('to') ? `;tag=${tag}` : '');
  const lines = [
    ...request.all('via').map((via) => `Via: ${via}`),
    ...request.all('record-route').map((route) => `Record-Route: ${route}`),
    `From: ${request.get('from')}`,
    `To: ${to}`,
    `Call-ID: ${request.callId}`,
    `CSeq: ${request.get('cseq')}`,
    ...linesOf(content),
  ];
  return new SipMessage(`SIP/2.0 ${status} ${PHRASES[status] ?? 'Refused'}`, lines.map(toHeader), content.body);
}

const linesOf = ({ headers = [], type }: Content): string[] => [...headers, ...(type ? [`Content-Type: ${type}`] : [])];

/** For tags, branches and Call-IDs. */
export const token = (): string => randomBytes(8).toString('hex');

/** A new transaction's Via. */
export const viaOf = (address: string): string => `Via: SIP/2.0/UDP ${address};rport;branch=z9hG4bK${token()}`;

/** What stands between the angle brackets of a Contact. */
export const uriIn = (contact: string): string => /<([^>]+)>/.exec(contact)?.[1] ?? contact.split(';')[0]!;

function longName(name: string): string {
  const lower = name.toLowerCase();
  return COMPACT[lower] ?? lower;
}

function toHeader(line: string): readonly [string, string] {
  const colon = line.indexOf(':');
  if (colon < 1) throw new Error(`"${line}" is no header: write it as "Name: value"`);
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
