/** What operators read of a contact in the Temporal UI, without any log. Ids and codes only. */
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { ContactState } from '../../domain/states.ts';
import { attribute } from '../attributes.ts';

/** Lines kept: the latest; the whole record is in the database. */
const KEPT_LINES = 25;

export interface Headline {
  state: string;
  /** What it waits for, in words. */
  waitingFor: string;
}

/** Short Markdown: state, since when, waiting for what, and the latest events. */
export class Story {
  readonly timeline: string[];
  private shown = '';

  constructor(carried: string[] = []) {
    this.timeline = carried;
  }

  note(line: string): void {
    this.timeline.push(`${clock()} ${line}`);
    if (this.timeline.length > KEPT_LINES) this.timeline.shift();
    this.show();
  }

  headline({ state, waitingFor }: Headline): void {
    this.shown = `**${state}** since ${clock()} UTC\n\nWaiting for: ${waitingFor}`;
    this.show();
  }

  private show(): void {
    setCurrentDetails([this.shown, '', ...this.timeline.map((line) => `- ${line}`)].join('\n'));
  }
}

const clock = (): string => new Date().toISOString().slice(0, 19).replace('T', ' ');

/** Search attributes, on changes of phase only: each is an event in the history. */
export function markState(state: ContactState, more: { agentId?: string; attempt?: number; resultCode?: string | undefined } = {}): void {
  upsertSearchAttributes([
    { key: attribute.contactState, value: state },
    ...(more.agentId === undefined ? [] : [{ key: attribute.agentId, value: more.agentId }]),
    ...(more.attempt === undefined ? [] : [{ key: attribute.attempt, value: more.attempt }]),
    ...(more.resultCode === undefined ? [] : [{ key: attribute.resultCode, value: more.resultCode }]),
  ]);
}
