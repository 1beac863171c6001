import { type Message, renderMessages } from '../text/template.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** A conversation that keeps within a model's positions: what was said first is forgotten first. */
export class Conversation {
  readonly #tokenizer: Tokenizer;
  #system: Message | null = null;
  #turns: Message[] = [];

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The system's message; '' takes it back. */
  set system(content: string) {
    this.#system = content === '' ? null : { role: 'system', content };
  }

  /** Questions and answers so far. */
  get turns(): readonly Message[] {
    return this.#turns;
  }

  /** Forgets all but the system's message. */
  reset(): void {
    this.#turns = [];
  }

  /**
   * The prompt for a new question.
   * @param limit tokens that prompt and answer may have together
   * @param room tokens kept for the answer at least
   * @returns the tokens, how many earlier turns had to be left out, and the tokens that an answer may have; null when the
   *   question alone is too long
   */
  ask(question: string, limit: number, room: number): { tokens: number[]; forgotten: number; left: number } | null {
    const asked: Message = { role: 'user', content: question };
    let forgotten = 0;
    for (let kept = this.#turns; ; kept = kept.slice(2), forgotten += 2) {
      const messages = [...(this.#system === null ? [] : [this.#system]), ...kept, asked];
      const tokens = renderMessages(this.#tokenizer, messages, { add_generation_prompt: true });
      if (tokens.length + room <= limit) {
        this.#turns = kept;
        return { tokens, forgotten, left: limit - tokens.length };
      }
      if (kept.length === 0) return null;
    }
  }

  /**
   * Keeps a question with its answer. The thought is left out, as DeepSeek's own template does: later answers are made from
   * what was said, not from what was thought.
   * @param response with its tags, and with the beginning of the thought where the prompt had it (begunThought)
   */
  keep(question: string, response: string): void {
    const end = response.lastIndexOf('</think>');
    const behind = end < 0 ? response : response.slice(end + '</think>'.length);
    // A thought that was cut off is one all the same.
    const open = behind.indexOf('<think>');
    const said = (open < 0 ? behind : behind.slice(0, open)).trim();
    this.#turns = [...this.#turns, { role: 'user', content: question }, { role: 'assistant', content: said }];
  }
}
