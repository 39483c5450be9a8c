/**
 * `npm run audit`: asks the registry for known holes in what production runs, by `npm audit`. Fails for those of level
 * high or critical. A mirror that only has packages can't answer: that is said, and is no failure, as a machine behind one could
 * never pass otherwise.
 */
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';

const GRAVE = ['high', 'critical'] as const;
/** npm would ask again and again, for minutes, where nobody answers. */
const ONCE = ['--fetch-retries=0', '--fetch-timeout=30000'];

export interface Verdict {
  passed: boolean;
  /** For people: a line, or one for each package. */
  text: string;
}

/** `answer`: what `npm audit --json` has written. */
export function verdictOf(answer: string): Verdict {
  const { metadata, vulnerabilities = {}, message, error } = parsed(answer);
  if (!metadata?.vulnerabilities) {
    const why = error?.summary || message || 'it does not answer';
    return { passed: true, text: `NOT AUDITED: the registry of this machine offers no audit (${why.trim().split('\n')[0]}).` };
  }
  const grave = Object.values(vulnerabilities).filter(({ severity }) => (GRAVE as readonly string[]).includes(severity));
  const counts = Object.entries(metadata.vulnerabilities).map(([level, count]) => `${level} ${count}`);
  const lines = grave.map(({ name, severity, range }) => `${severity}: ${name} ${range}`);
  return { passed: grave.length === 0, text: [...lines, `Known holes in production dependencies: ${counts.join(', ')}.`].join('\n') };
}

interface Answer {
  metadata?: { vulnerabilities?: Record<string, number> };
  vulnerabilities?: Record<string, { name: string; severity: string; range: string }>;
  message?: string;
  error?: { summary?: string };
}

function parsed(answer: string): Answer {
  try {
    return (JSON.parse(answer) as Answer | null) ?? {};
  } catch {
    return {};
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--audit-level=high', '--json', ...ONCE], { encoding: 'utf8', maxBuffer: 64 << 20, timeout: 90_000 });
  const { passed, text } = verdictOf(stdout ?? '');
  console.log(text);
  process.exitCode = passed ? 0 : 1;
}
