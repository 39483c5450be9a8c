/** An agent's softphone: registers at a switch with a password (RFC 3261, 10; RFC 7616 with MD5), then is a phone. */
import { createHash } from 'node:crypto';
import { requestOf, type SipMessage, token, viaOf } from './message.ts';
import { type SipPhone, SipPhones, type SipPhonesOptions } from './phones.ts';
import { HOST } from './transport.ts';

export interface SoftphoneOptions extends Pick<SipPhonesOptions, 'sounds'> {
  /** Port of the switch on loopback. */
  sipPort: number;
  account: string;
  password: string;
  /** For how many seconds it registers; it does so again after half of them. */
  expires?: number;
}

export class Softphone {
  readonly phones: SipPhones;
  readonly phone: SipPhone;
  /** Epoch ms of the last time; null: it is not. */
  registeredAt: number | null = null;
  readonly #options: Required<Omit<SoftphoneOptions, 'sounds'>>;
  readonly #callId = token();
  readonly #tag = token();
  #cseq = 0;
  #again: NodeJS.Timeout | undefined;

  /** Not registered yet. */
  static async open(options: SoftphoneOptions): Promise<Softphone> {
    return new Softphone(await SipPhones.open({ sounds: options.sounds ?? {} }), options);
  }

  private constructor(phones: SipPhones, { expires = 120, ...options }: SoftphoneOptions) {
    this.phones = phones;
    this.phone = phones.phone(options.account);
    this.#options = { ...options, expires };
  }

  /** Rejects when the switch refuses. Renewed by itself from then on; one that fails then is thrown by `close`. */
  async register(): Promise<void> {
    const { expires } = this.#options;
    await this.#register(expires);
    clearTimeout(this.#again);
    this.#again = setTimeout(() => {
      this.register().catch((error: unknown) => this.phones.failed(error));
    }, expires * 500);
  }

  async unregister(): Promise<void> {
    clearTimeout(this.#again);
    await this.#register(0);
  }

  /** Stays registered, as a phone whose cable was pulled. */
  close(): void {
    clearTimeout(this.#again);
    this.phones.close();
  }

  async #register(expires: number): Promise<void> {
    let response = await this.#send(expires, []);
    if (response.status === 401) response = await this.#send(expires, [this.#authorization(response)]);
    const said = response.start.replace('SIP/2.0 ', '');
    if (response.status !== 200) throw new Error(`The registration of ${this.#options.account} was refused: ${said}`);
    this.registeredAt = expires > 0 ? Date.now() : null;
  }

  #send(expires: number, headers: string[]): Promise<SipMessage> {
    const { account, sipPort } = this.#options;
    const { transport, address } = this.phones;
    this.#cseq += 1;
    const register = requestOf('REGISTER', this.#uri, [
      viaOf(address),
      `From: <sip:${account}@${HOST}>;tag=${this.#tag}`,
      `To: <sip:${account}@${HOST}>`,
      `Call-ID: ${this.#callId}`,
      `CSeq: ${this.#cseq} REGISTER`,
      `Contact: <sip:${account}@${address}>`,
      `Expires: ${expires}`,
      ...headers,
    ]);
    return transport.request(register, { address: HOST, port: sipPort });
  }

  get #uri(): string {
    return `sip:${HOST}:${this.#options.sipPort}`;
  }

  #authorization(refusal: SipMessage): string {
    const challenge = refusal.get('www-authenticate');
    const given = (name: string): string | undefined => {
      const [, quoted, bare] = new RegExp(`\\b${name}=(?:"([^"]*)"|([^,\\s]+))`, 'i').exec(challenge) ?? [];
      return quoted ?? bare;
    };
    const { account, password } = this.#options;
    const [realm, nonce, opaque] = [given('realm') ?? '', given('nonce') ?? '', given('opaque')];
    const secret = md5(`${account}:${realm}:${password}`);
    const what = md5(`REGISTER:${this.#uri}`);
    const cnonce = token();
    const isAuth = given('qop')?.split(',').some((qop) => qop.trim() === 'auth');
    const response = md5(isAuth ? `${secret}:${nonce}:00000001:${cnonce}:auth:${what}` : `${secret}:${nonce}:${what}`);
    const fields = [
      `username="${account}", realm="${realm}", nonce="${nonce}"`,
      `uri="${this.#uri}", response="${response}", algorithm=MD5`,
      ...(isAuth ? [`qop=auth, nc=00000001, cnonce="${cnonce}"`] : []),
      ...(opaque === undefined ? [] : [`opaque="${opaque}"`]),
    ];
    return `Authorization: Digest ${fields.join(', ')}`;
  }
}

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
