import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig, requireRuntime, requireWorker } from '../../config/config.ts';

function problemsOf(work: () => unknown): string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const RUNTIME = {
  DATABASE_URL: 'postgresql://app:secret@127.0.0.1:5432/dialwright',
  TEMPORAL_ADDRESS: '127.0.0.1:7233',
  SIMULATOR_URL: 'http://127.0.0.1:3060',
};

describe('loadConfig', () => {
  it('needs nothing', () => {
    expect(loadConfig({})).toEqual({
      port: 3000,
      host: '127.0.0.1',
      adminKey: undefined,
      dataDir: path.resolve('.data'),
      databaseUrl: undefined,
      temporalAddress: undefined,
      temporalNamespace: 'default',
      taskQueue: 'dialwright',
      workerId: os.hostname(),
      contactsCached: 300,
      telephony: 'simulator',
      telephonyNode: 'sim-1',
      telephonyMaxCalls: undefined,
      telephonyCallsPerSecond: undefined,
      simulatorUrl: undefined,
      simulatorSpeed: 1,
      asterisk: {
        url: undefined,
        user: 'dialwright',
        password: undefined,
        app: 'dialwright',
        trunk: undefined,
        agents: 'PJSIP/{extension}',
        callerId: null,
        earlyMediaAlerts: true,
      },
      webhookNetworks: [],
      logLevel: 'info',
    });
  });

  it('reads numbers as numbers and paths as absolute ones', () => {
    const config = loadConfig({ PORT: '8080', SIMULATOR_SPEED: '2.5', CONTACTS_CACHED: '10', DATA_DIR: 'there' });
    expect(config).toMatchObject({
      port: 8080,
      simulatorSpeed: 2.5,
      contactsCached: 10,
      dataDir: path.resolve('there'),
    });
  });

  it('takes what is set to nothing as not set', () => {
    expect(loadConfig({ PORT: '', DATABASE_URL: ' ', LOG_LEVEL: undefined })).toEqual(loadConfig({}));
  });

  it.each([
    ['PORT', '-1'],
    ['PORT', '80.5'],
    ['PORT', '65536'],
    ['PORT', 'http'],
    ['DATABASE_URL', 'mysql://app:secret@host/db'],
    ['DATABASE_URL', 'host:5432'],
    ['TEMPORAL_ADDRESS', 'http://host:7233'],
    ['TEMPORAL_ADDRESS', 'host'],
    ['TEMPORAL_NAMESPACE', 'a b'],
    ['TASK_QUEUE', 'dial/wright'],
    ['DIALWRIGHT_ADMIN_KEY', 'nineteen-characters'],
    ['TELEPHONY', 'freeswitch'],
    ['ARI_URL', '127.0.0.1:8088'],
    ['ARI_APP', 'two words'],
    ['ASTERISK_TRUNK', 'PJSIP/carrier'],
    ['ASTERISK_TRUNK', '{number}'],
    ['ASTERISK_AGENTS', 'PJSIP/{number}'],
    ['ASTERISK_CALLER_ID', 'Dialwright'],
    ['ASTERISK_EARLY_MEDIA_ALERTS', 'perhaps'],
    ['TELEPHONY_NODE', '-'],
    ['TELEPHONY_MAX_CALLS', '0'],
    ['TELEPHONY_MAX_CALLS', '2.5'],
    ['TELEPHONY_CALLS_PER_SECOND', '0'],
    ['TELEPHONY_CALLS_PER_SECOND', 'many'],
    ['SIMULATOR_URL', 'ws://127.0.0.1:3060'],
    ['SIMULATOR_SPEED', '0'],
    ['SIMULATOR_SPEED', 'fast'],
    ['CONTACTS_CACHED', '0'],
    ['LOG_LEVEL', 'loud'],
  ])('refuses %s=%s', (name, value) => {
    const problems = problemsOf(() => loadConfig({ [name]: value }));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name}: `));
  });

  it.each([
    ['TEMPORAL_ADDRESS', 'temporal.example.org:7233'],
    ['TEMPORAL_ADDRESS', '[::1]:7233'],
    ['DATABASE_URL', 'postgres://app:secret@host/db?sslmode=require'],
    ['SIMULATOR_URL', 'http://simulator:3060'],
    ['PORT', '0'],
    ['ARI_URL', 'https://pbx.example.org:8089/ari/'],
    ['ASTERISK_TRUNK', 'PJSIP/0{digits}@carrier'],
    ['ASTERISK_TRUNK', 'Local/{number}@outbound'],
    ['ASTERISK_AGENTS', 'PJSIP/agent-{extension}'],
    ['ASTERISK_CALLER_ID', '+4721000000'],
    ['ASTERISK_EARLY_MEDIA_ALERTS', 'false'],
    ['TELEPHONY_MAX_CALLS', '30'],
    ['TELEPHONY_CALLS_PER_SECOND', '0.5'],
  ])('takes %s=%s', (name, value) => {
    expect(problemsOf(() => loadConfig({ [name]: value }))).toEqual([]);
  });

  it('reports every problem at once, and what is expected', () => {
    const load = () => loadConfig({ PORT: 'x', LOG_LEVEL: 'loud', SIMULATOR_SPEED: '-1' });
    expect(problemsOf(load)).toEqual([
      'PORT: a port number, 0 to 65535 (0 takes any free one)',
      'SIMULATOR_SPEED: a number above 0, such as 10 for ten times as fast',
      'LOG_LEVEL: one of fatal, error, warn, info, debug, trace, silent',
    ]);
    expect(load).toThrow(/^The settings are not right:\n {2}PORT: .*\n {2}SIMULATOR_SPEED: .*\n {2}LOG_LEVEL: .*$/);
  });

  it('never repeats a value, which may be a secret', () => {
    const problems = problemsOf(() =>
      loadConfig({ DATABASE_URL: 'mysql://app:hunter2@host/db', DIALWRIGHT_ADMIN_KEY: 'hunter2' }),
    );
    expect(problems).toHaveLength(2);
    expect(problems.join()).not.toContain('hunter2');
  });
});

describe('requireRuntime', () => {
  it('passes on what is complete', () => {
    const config = loadConfig(RUNTIME);
    expect(requireRuntime(config)).toEqual(config);
  });

  it('names everything that is missing', () => {
    const names = problemsOf(() => requireRuntime(loadConfig({}))).map((problem) => problem.split(':')[0]);
    expect(names).toEqual(['DATABASE_URL', 'TEMPORAL_ADDRESS', 'SIMULATOR_URL']);
  });

  it.each(Object.keys(RUNTIME))('asks for %s alone when only that is missing', (name) => {
    const problems = problemsOf(() => requireRuntime(loadConfig({ ...RUNTIME, [name]: undefined })));
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([name]);
  });
});

describe('requireWorker', () => {
  const ASTERISK = {
    ...RUNTIME,
    TELEPHONY: 'asterisk',
    SIMULATOR_URL: undefined,
    ARI_URL: 'http://127.0.0.1:8088/ari/',
    ARI_PASSWORD: 'secret',
    ASTERISK_TRUNK: 'PJSIP/{number}@carrier',
  };

  it('gives the simulated switch', () => {
    expect(requireWorker(loadConfig(RUNTIME)).phones).toEqual({ adapter: 'simulator', url: RUNTIME.SIMULATOR_URL });
  });

  it('gives the Asterisk, with defaults for what need not be said', () => {
    const config = requireWorker(loadConfig(ASTERISK));
    expect(config.telephonyNode).toBe('asterisk-1');
    expect(config.phones).toEqual({
      adapter: 'asterisk',
      url: 'http://127.0.0.1:8088/ari',
      user: 'dialwright',
      password: 'secret',
      app: 'dialwright',
      trunk: 'PJSIP/{number}@carrier',
      agents: 'PJSIP/{extension}',
      callerId: null,
      earlyMediaAlerts: true,
    });
  });

  it('names everything that is missing, of the switch that was chosen', () => {
    const namesOf = (env: Record<string, string>) =>
      problemsOf(() => requireWorker(loadConfig(env))).map((problem) => problem.split(':')[0]);
    expect(namesOf({})).toEqual(['DATABASE_URL', 'TEMPORAL_ADDRESS', 'SIMULATOR_URL']);
    const asterisk = ['DATABASE_URL', 'TEMPORAL_ADDRESS', 'ARI_URL', 'ARI_PASSWORD', 'ASTERISK_TRUNK'];
    expect(namesOf({ TELEPHONY: 'asterisk' })).toEqual(asterisk);
  });

  it('asks the API for nothing of an Asterisk', () => {
    const { ARI_URL, ARI_PASSWORD, ASTERISK_TRUNK, ...rest } = ASTERISK;
    expect([ARI_URL, ARI_PASSWORD, ASTERISK_TRUNK]).not.toContain(undefined);
    expect(problemsOf(() => requireRuntime(loadConfig(rest)))).toEqual([]);
  });
});
