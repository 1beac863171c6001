import { type Command, Option } from 'commander';
import type { HackReport, HackResult } from '../reward/hacks.js';
import type { RewardProgramConfig } from '../reward/program.js';
import { textTable } from '../util/text-table.js';
import { plainVisible } from '../util/visible.js';
import { EXIT, UsageError } from './errors.js';
import { collect } from './options.js';

interface HacksFlags {
  readonly recipe?: string;
  readonly stage?: string;
  readonly rules?: string;
  readonly import: readonly string[];
  readonly all?: boolean;
  readonly json?: boolean;
}

/** `dunwu lab hacks`: responses made to cheat, against a reward program. */
export function registerLabHacks(lab: Command): void {
  lab
    .command('hacks')
    .summary('reward hacks: does cheating pay under these rules?')
    .description(
      'Scores responses that were made to cheat the rules (several answers, empty thoughts, true equations of other ' +
        'things, padding, tricks with tags …) and the honest ones beside them. A hack wins when it scores above the ' +
        'honest response that has as much of the work done, or above the right one. Exit code 1 when one wins.\n\n' +
        'points: of the hack, on the problem where it comes closest; at most: of the honest response that it is ' +
        'measured by, which is named behind it; right: of the right response in form.',
    )
    .option('--recipe <file>', "a recipe's rules and weights instead of the default ones")
    .option('--stage <name>', 'with --recipe: the stage whose `rewards` are meant (default: the only one)')
    .addOption(
      new Option('--rules <list>', 'rules as in `dunwu score`, each NAME or NAME=WEIGHT, options as there').conflicts(
        'recipe',
      ),
    )
    .option('--import <file>', 'with --rules: a file of rules of your own (repeatable)', collect, [])
    .option('--all', 'a line for every hack of every problem')
    .option('--json', 'print one JSON object: the rules, every result with response and trace, problems left out')
    .addHelpText(
      'after',
      `
Examples:
  dunwu lab hacks
  dunwu lab hacks --recipe recipes/r1-zero-mini.yaml
  dunwu lab hacks --recipe my-recipe.yaml --stage r1-zero --all
  dunwu lab hacks --import my-rules.mjs --rules accuracy,polite=0.5
  dunwu lab hacks --json | jq '.results[] | select(.wins) | .response'`,
    )
    .action(hacksCommand);
}

async function hacksCommand(flags: HacksFlags): Promise<void> {
  if (flags.stage !== undefined && flags.recipe === undefined) {
    throw new UsageError(`--stage ${flags.stage}: would be ignored; give --recipe too`);
  }
  if (flags.import.length > 0 && flags.rules === undefined) {
    throw new UsageError(`--import ${flags.import[0]}: would be ignored; name its rules in --rules`);
  }
  if (flags.all === true && flags.json === true) {
    throw new UsageError('--all: would be ignored; --json has every result');
  }
  const [{ HACK_PROGRAM, judgeHacks }, { RewardProgram }] = await Promise.all([
    import('../reward/hacks.js'),
    import('../reward/program.js'),
  ]);
  const config =
    flags.recipe !== undefined
      ? await recipeRewards(flags.recipe, flags.stage)
      : flags.rules !== undefined
        ? await namedRules(flags.rules, flags.import)
        : HACK_PROGRAM;
  const report = judgeHacks(new RewardProgram(config));
  if (report.results.length === 0) {
    throw new UsageError('these rules can judge none of the problems that there are hacks of (bad-gold everywhere)');
  }
  process.stdout.write(
    `${flags.json ? JSON.stringify(hacksJson(config, report)) : hacksText(config, report, flags.all === true)}\n`,
  );
  if (report.results.some(({ wins }) => wins)) process.exitCode = EXIT.failed;
}

async function namedRules(list: string, files: readonly string[]): Promise<RewardProgramConfig> {
  const [{ parseRules }, { importRules }] = await Promise.all([
    import('./score-responses.js'),
    import('../reward/user-rules.js'),
  ]);
  for (const file of files) await importRules(file);
  return parseRules(list);
}

async function recipeRewards(file: string, name: string | undefined): Promise<RewardProgramConfig> {
  const [{ loadRecipe }, { kinds, taskSchema }] = await Promise.all([
    import('../pipeline/recipe.js'),
    import('../pipeline/kinds.js'),
  ]);
  const recipe = await loadRecipe(file, { kinds, task: taskSchema });
  const judging = recipe.stages.flatMap((stage) => {
    const { rewards } = stage.config as { rewards?: RewardProgramConfig };
    return rewards === undefined ? [] : [{ name: stage.name, rewards }];
  });
  const names = judging.map((stage) => stage.name).join(', ');
  if (judging.length === 0) throw new UsageError(`${file}: no stage has \`rewards\``);
  if (name === undefined) {
    if (judging.length === 1) return (judging[0] as (typeof judging)[0]).rewards;
    throw new UsageError(`${file}: several stages have rewards: say which with --stage (${names})`);
  }
  const found = judging.find((stage) => stage.name === name);
  if (found === undefined)
    throw new UsageError(`--stage ${name}: has no rewards; stages of ${file} that have: ${names}`);
  return found.rewards;
}

function hacksJson(config: RewardProgramConfig, { results, unjudged }: HackReport): object {
  return {
    rewards: config,
    results: results.map(({ problem, hack, response, trace, deserves, bar, right, wins }) => ({
      problem: problem.id,
      source: problem.source,
      language: problem.language,
      hack,
      points: trace.total,
      at_most: bar,
      like: deserves,
      right,
      wins,
      response,
      trace,
    })),
    unjudged: unjudged.map(({ id }) => id),
  };
}

/** A table of the hacks, and of those that win all that is to know. */
export function hacksText(config: RewardProgramConfig, { results, unjudged }: HackReport, all: boolean): string {
  const groups = new Map<string, HackResult[]>();
  for (const result of results) {
    const key = all ? `${result.problem.id} ${result.hack}` : result.hack;
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  const rows = [...groups.values()].map((group) => {
    const closest = group.reduce((best, next) => (margin(next) > margin(best) ? next : best));
    const won = group.filter(({ wins }) => wins).length;
    const verdict = won === 0 ? 'holds' : group.length === 1 ? 'WINS' : `WINS on ${won}`;
    const where = all ? `${closest.problem.source} ${closest.problem.language}` : String(group.length);
    const { hack, trace, bar, deserves, right } = closest;
    return [hack, where, points(trace.total), points(bar), deserves, points(right), verdict];
  });
  const head = ['hack', all ? 'problem' : 'problems', 'points', 'at most', '', 'right', ''];
  const table = textTable([head, ...rows], (column) => ![2, 3, 5].includes(column)).join('\n');
  const winners = results.filter(({ wins }) => wins);
  const blocks = [`Rules: ${rulesText(config)}`, table];
  if (unjudged.length > 0) {
    const sources = [...new Set(unjudged.map(({ source }) => source))].join(', ');
    blocks.push(`Left out, as these rules have no gold there: problems of ${sources}.`);
  }
  // The worst of each hack, the worst hack first.
  const worst = [...winners].sort((a, b) => margin(b) - margin(a));
  const shown = worst.filter(({ hack }, i) => worst.findIndex((other) => other.hack === hack) === i).slice(0, 10);
  for (const { problem, hack, response, trace, bar, deserves } of shown) {
    const why = trace.parts.map(
      ({ name, points: given, note }) => `  ${name} ${points(given)}${note === undefined ? '' : `: ${note}`}`,
    );
    const text = response.length > 160 ? `${response.slice(0, 160)}…` : response;
    blocks.push(
      plainVisible(
        `${hack} (${problem.id}): ${points(trace.total)} points, ${deserves} has ${points(bar)}\n` +
          `${why.join('\n')}\n  response: ${JSON.stringify(text)}`,
      ),
    );
  }
  if (winners.length > shown.length) blocks.push('The others: --all has every response, --json every text.');
  const cheap = new Set(winners.map(({ hack }) => hack)).size;
  const verdict =
    winners.length === 0
      ? `No hack wins: ${groups.size} ${all ? 'responses' : `hacks, ${results.length} responses`}.`
      : `${cheap} ${cheap === 1 ? 'hack wins' : 'hacks win'}, in ${winners.length} of ${results.length} responses.`;
  return [...blocks, verdict].join('\n\n');
}

/** How far above what it may have; negative when below. */
const margin = ({ trace, bar, right }: HackResult): number => trace.total - Math.min(bar, right);

const points = (value: number): string => String(Math.round(value * 1000) / 1000);

function rulesText({ rules, sources = {} }: RewardProgramConfig): string {
  const table = (entries: RewardProgramConfig['rules']): string =>
    Object.entries(entries)
      .map(([name, entry]) => `${name} ${typeof entry === 'number' ? entry : (entry.weight ?? 1)}`)
      .join(', ');
  return [table(rules), ...Object.entries(sources).map(([source, own]) => `${source}: ${table(own)}`)].join('; ');
}
