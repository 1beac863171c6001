import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorText, UsageError } from '../util/errors.js';
import { SPECIAL_TOKENS } from './special-tokens.js';

/** The file that holds a checkpoint's chat template, beside tokenizer.json; older checkpoints have it in tokenizer_config.json. */
export const CHAT_TEMPLATE_FILE = 'chat_template.jinja';

/**
 * The chat template of a trained tokenizer: `renderMessages` (template.ts) gives the same tokens without passing
 * through text. A document is BOS, then `<｜User｜>` question `<｜Assistant｜>` response EOS, turn by turn; a system
 * message stands before the first turn.
 */
export const CHAT_TEMPLATE = [
  '{{ bos_token }}',
  '{% for message in messages %}',
  "{% if message['role'] == 'system' %}{{ message['content'] }}",
  `{% elif message['role'] == 'user' %}{{ '${SPECIAL_TOKENS.user}' + message['content'] }}`,
  `{% elif message['role'] == 'assistant' %}{{ '${SPECIAL_TOKENS.assistant}' + message['content'] + eos_token }}`,
  "{% else %}{{ raise_exception('Unknown role: ' + message['role']) }}",
  '{% endif %}{% endfor %}',
  `{% if add_generation_prompt %}{{ '${SPECIAL_TOKENS.assistant}' }}{% endif %}`,
].join('');

/**
 * A checkpoint's chat template, found where transformers finds it: `chat_template.jinja`, else `chat_template` of
 * tokenizer_config.json, a text or a list of named ones, of which `default` is taken.
 * @param config tokenizer_config.json, parsed, or {}
 * @returns undefined when there is none
 * @throws UsageError naming the file, when it cannot be read, or a list has no default
 */
export function readChatTemplate(folder: string, config: Readonly<Record<string, unknown>>): string | undefined {
  const file = join(folder, CHAT_TEMPLATE_FILE);
  if (statSync(file, { throwIfNoEntry: false })?.isFile() === true) {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      throw new UsageError(`${file}: cannot be read: ${errorText(error)}`);
    }
  }
  const given = config.chat_template;
  if (given === undefined || given === null) return undefined;
  if (typeof given === 'string') return given;
  const where = `${join(folder, 'tokenizer_config.json')}: "chat_template"`;
  if (!Array.isArray(given))
    throw new UsageError(`${where} must be a text, or a list of objects with name and template`);
  const named = new Map<string, string>();
  for (const [i, entry] of given.entries()) {
    const { name, template } = (entry ?? {}) as { readonly name?: unknown; readonly template?: unknown };
    if (typeof name !== 'string' || typeof template !== 'string') {
      throw new UsageError(`${where}[${i}] must be an object with the texts name and template`);
    }
    named.set(name, template);
  }
  const chosen = named.get('default');
  if (chosen !== undefined) return chosen;
  const names = [...named.keys()].map((name) => JSON.stringify(name)).join(', ');
  throw new UsageError(
    `${where} has ${names === '' ? 'no templates' : `the templates ${names}`}, but none named "default": put the one that is meant into ${file}`,
  );
}
