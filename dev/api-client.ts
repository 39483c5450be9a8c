// Dialwright's public HTTP API, as `npm start` uses it.

/** The API answered with a problem (RFC 9457), or did not answer at all (status 0). */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';
  readonly status: number;
  /** Which fields are wrong, and why. */
  readonly issues: { field: string; reason: string }[];

  constructor(what: string, status: number, detail: string, issues: { field: string; reason: string }[] = []) {
    super(`${what}: ${detail}`);
    this.status = status;
    this.issues = issues;
  }

  /** It may go well in a moment. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 503;
  }
}

/** A read that takes longer will not come any more; an import may take as long as it needs. */
const READ_WITHIN_MS = 10_000;

interface Page<T> {
  items: T[];
  next: string | null;
}

export class ApiClient {
  readonly url: string;
  #key: string;
  #signal: AbortSignal;

  /** `signal` gives up what is under way. */
  constructor(url: string, key: string, signal: AbortSignal) {
    this.url = url;
    this.#key = key;
    this.#signal = signal;
  }

  /** The same API with another key. */
  as(key: string): ApiClient {
    return new ApiClient(this.url, key, this.#signal);
  }

  get<T>(path: string): Promise<T> {
    return this.#ask<T>('GET', path);
  }

  /** With an object as JSON, or a file of the given type. */
  post<T>(path: string, body: object | Blob = {}): Promise<T> {
    return this.#ask<T>('POST', path, body);
  }

  patch<T>(path: string, body: object): Promise<T> {
    return this.#ask<T>('PATCH', path, body);
  }

  delete(path: string): Promise<unknown> {
    return this.#ask('DELETE', path);
  }

  /** All pages of a list. */
  async all<T>(path: string): Promise<T[]> {
    const items: T[] = [];
    for (let next: string | null = ''; next !== null; ) {
      const cursor: string = next && `&cursor=${encodeURIComponent(next)}`;
      const page: Page<T> = await this.get<Page<T>>(`${path}?limit=1000${cursor}`);
      items.push(...page.items);
      next = page.next;
    }
    return items;
  }

  async #ask<T>(method: string, path: string, body?: object | Blob): Promise<T> {
    const what = `${method} ${path}`;
    const isFile = body instanceof Blob;
    const headers = { authorization: `Bearer ${this.#key}`, 'content-type': isFile ? body.type : 'application/json' };
    const content = body && { body: isFile ? body : JSON.stringify(body) };
    const timely = method === 'GET' ? [AbortSignal.timeout(READ_WITHIN_MS)] : [];
    const signal = AbortSignal.any([this.#signal, ...timely]);
    const response = await fetch(this.url + path, { method, headers, ...content, signal }).catch(
      (error: Error) => {
        this.#signal.throwIfAborted();
        throw new ApiProblem(what, 0, `no answer (${(error.cause as Error | undefined)?.message ?? error.message})`);
      },
    );
    const answer = (await response.json().catch(() => ({}))) as Partial<ApiProblem> & { detail?: string };
    if (response.ok) return answer as T;
    throw new ApiProblem(what, response.status, answer.detail ?? response.statusText, answer.issues);
  }
}
