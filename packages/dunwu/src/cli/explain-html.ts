import { plainVisible } from '../util/visible.js';
import { explanationOf, placeLine } from './explain-lines.js';
import { type Layer, layersOf, segmentsOf } from './explain-marks.js';
import type { ExplainedSample } from './explain-sample.js';
import { EXPLAIN_WORDS, type ExplainLanguage } from './explain-words.js';

/** Text as HTML shows it, and nothing else: what a model says is never markup. */
function escapeHtml(text: string): string {
  return plainVisible(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** Okabe and Ito's colours, which most colour-blind people can tell apart. */
const HUES = ['#009e73', '#0072b2', '#d55e00', '#cc79a7', '#e69f00', '#56b4e9', '#7f7f7f', '#a6761d'];
const hue = (index: number): string => HUES[index % HUES.length] as string;

const STYLE = `
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --soft: #666; --line: #ddd; --panel: #f6f6f4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --paper: #17181a; --soft: #9a9a95; --line: #3a3b3e; --panel: #202226; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.3rem; margin: 0; } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem; } .place, .note { color: var(--soft); }
pre { margin: 0; padding: .8rem 1rem; background: var(--panel); border-radius: .4rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .95rem/1.6 ui-monospace, "Cascadia Mono", Menlo, Consolas, "Noto Sans Mono CJK SC", monospace; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: normal; } td.n, th.n { text-align: right; }
.key { display: inline-block; min-width: 1.3em; text-align: center; border-bottom: 4px solid; font-weight: 600; }
.sum { font-size: 1.1rem; font-weight: 600; } .bad { color: #c62828; }
`;

/** A page of its own: no script, nothing loaded. Each rule underlines what it read in a lane of its own; dotted: no points. */
export function explainHtml(sample: ExplainedSample, language: ExplainLanguage, fresh = false): string {
  const words = EXPLAIN_WORDS[language];
  const layers = layersOf(sample.trace);
  const { rules, steps, sum, exact, context } = explanationOf(sample, layers, language, fresh);
  const shown = layers.filter(({ marks }) => marks.length > 0);
  const key = (index: number, letter: string): string =>
    `<span class="key" style="border-color:${hue(index)}">${escapeHtml(letter)}</span>`;
  const index = new Map(layers.map((layer) => [layer.rule, layer.index]));
  const withAdvantage = steps.some((row) => row[3] !== '');
  const colon = language === 'zh' ? '：' : ': ';
  const body = [
    `<h1>${words.title}</h1>\n<p class="place">${escapeHtml(placeLine(sample, language))}</p>`,
    `<h2>${words.prompt}</h2>\n<pre>${escapeHtml(sample.prompt)}</pre>`,
    sample.answer === undefined ? '' : `<p>${words.gold}${colon}${escapeHtml(sample.answer)}</p>`,
    `<h2>${words.response}</h2>\n<pre style="line-height:calc(1.5em + ${5 * shown.length}px)">${marked(sample.response, layers, shown, words)}</pre>`,
    shown.length === 0
      ? ''
      : `<p class="note">${shown.map(({ index: i, letter, rule }) => `${key(i, letter)} ${escapeHtml(rule)}`).join(' &nbsp; ')}</p>`,
    `<h2>${words.points}</h2>\n${
      rules.length === 0
        ? `<p>${words.noParts}</p>`
        : table(
            words.head,
            rules.map((row, i) => [key(i, row[0] ?? ''), ...row.slice(1).map(escapeHtml)]),
            [2, 3, 4],
          )
    }`,
    steps.length === 0
      ? ''
      : `<h2>${words.steps}</h2>\n${table(
          words.stepHead.filter((_, i) => i !== 3 || withAdvantage),
          steps.map(([letter = '', rule = '', ...rest]) => [
            key(index.get(rule) ?? 0, letter),
            escapeHtml(rule),
            ...rest.filter((_, i) => i !== 1 || withAdvantage).map(escapeHtml),
          ]),
          withAdvantage ? [2, 3] : [2],
        )}`,
    `<p class="sum${exact ? '' : ' bad'}">${escapeHtml(sum)}</p>`,
    ...context.map(([name, text]) => `<p>${escapeHtml(name)}${colon}${escapeHtml(text)}</p>`),
  ];
  return `<!doctype html>
<html lang="${language === 'zh' ? 'zh-CN' : 'en'}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${words.title} ${escapeHtml(sample.place)}</title>
<style>${STYLE}</style>
</head>
<body>
${body.filter((block) => block !== '').join('\n')}
</body>
</html>
`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[], right: readonly number[]): string {
  const cell = (tag: 'td' | 'th') => (html: string, i: number) =>
    `<${tag}${right.includes(i) ? ' class="n"' : ''}>${html}</${tag}>`;
  const line = (cells: string) => `<tr>${cells}</tr>`;
  return `<table>\n${[line(head.map(cell('th')).join('')), ...rows.map((row) => line(row.map(cell('td')).join('')))].join('\n')}\n</table>`;
}

/** The response in stretches; each covering rule draws a line at the height of its lane. */
function marked(
  response: string,
  layers: readonly Layer[],
  shown: readonly Layer[],
  words: (typeof EXPLAIN_WORDS)['en'],
): string {
  if (response.trim() === '') return escapeHtml(response === '' ? words.empty : response);
  return segmentsOf(response.length, layers)
    .map(({ start, end, covering }) => {
      const html = escapeHtml(response.slice(start, end));
      if (covering.length === 0) return html;
      const lanes = covering.map(({ layer, mark }) => {
        const from = shown.indexOf(layer) * 5;
        const paint = mark.good
          ? `linear-gradient(${hue(layer.index)},${hue(layer.index)})`
          : `repeating-linear-gradient(90deg,${hue(layer.index)} 0 3px,transparent 3px 6px)`;
        // Lane 0 is the highest one, right under the text.
        return `${paint} 0 calc(100% - ${5 * (shown.length - 1) - from}px)/100% 3px no-repeat`;
      });
      const title = covering
        .map(
          ({ layer, mark }) =>
            `${layer.rule}${mark.points === undefined ? '' : `: ${words.pointsOf(String(mark.points))}`}`,
        )
        .join(', ');
      return `<span title="${escapeHtml(title)}" style="padding-bottom:${5 * shown.length}px;background:${lanes.join(',')}">${html}</span>`;
    })
    .join('');
}
