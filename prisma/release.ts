/** The migrations that this release knows: by them a process sees that it and the database are of different releases. */
import { readdirSync } from 'node:fs';

const isMigration = (name: string): boolean => /^\d{14}_/.test(name);

/** Names, oldest first. */
export const knownMigrations = (): string[] =>
  readdirSync(new URL('./migrations', import.meta.url)).filter(isMigration).toSorted();
