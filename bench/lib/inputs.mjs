import { Random } from '../../packages/dunwu/dist/util/random.js';

/** Letters of the questions; the peers' tokenizer has one token for each, as ours has here. */
export const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789 +-=?.,:;!';

/** Tokens that TRL's prompts and ours hold besides the question (ours: BOS and two role tokens). */
export const PROMPT_FRAME = 3;

/** The same inputs for everyone: random token ids, and questions of random letters. `sizes`: a part of workload.json. */
export function makeInputs(sizes) {
  const { model, training, generation, grpo } = sizes;
  const random = new Random('bench');
  const ids = (rows, columns) =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, () => random.int(1, model.vocab_size - 1)));
  const letters = (length) => Array.from({ length }, () => ALPHABET[random.int(0, 25)]).join('');
  return {
    sizes,
    training: ids(training.batch, training.time),
    generation: ids(generation.batch, generation.prompt),
    questions: Array.from({ length: (grpo?.prompts ?? 0) * 16 }, () => letters(grpo.prompt - PROMPT_FRAME)),
  };
}
