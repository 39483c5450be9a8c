/** Epoch ms of Asterisk's `2026-01-31T12:00:00.000+0000`. */
export const timeOf = (timestamp: string): number => Date.parse(timestamp.replace(/([+-]\d\d)(\d\d)$/, '$1:$2'));
