import { Random } from '../../packages/dunwu/dist/util/random.js';

/** Letters of the questions; the peers' tokenizer has one token for each, as ours has here. */
export const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789 +-=?.,:;!';

/** Tokens that TRL's prompts and ours hold besides the question (ours: BOS and two role tokens). */
export const PROMPT_FRAME = 3;

/** The same inputs for everyone: random token ids, and questions of random letters. */
export function makeInputs({ model, training, generation, grpo }) {
  const random = new Random('bench');
  const ids = (rows, columns) =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, () => random.int(1, model.vocab_size - 1)));
  const question = () => Array.from({ length: grpo.prompt - PROMPT_FRAME }, () => ALPHABET[random.int(0, 25)]).join('');
  return {
    training: ids(training.batch, training.time),
    generation: ids(generation.batch, generation.prompt),
    questions: Array.from({ length: grpo.prompts * 16 }, question),
  };
}
