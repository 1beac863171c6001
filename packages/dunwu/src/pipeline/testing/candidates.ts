import { RewardProgram } from '../../reward/program.js';
import type { Candidate } from '../curation/queue.js';

export const REWARDS = { rules: { accuracy: 1, format: 0.5 } };
const program = new RewardProgram(REWARDS);

/** `count` candidates c0, c1, …: responses to "i+1?", every other one in Chinese. */
export function someCandidates(count: number): Candidate[] {
  return Array.from({ length: count }, (_, i) => {
    const problem = {
      id: `p${i}`,
      prompt: `${i}+1?`,
      answer: String(i + 1),
      source: 'sums',
      language: i % 2 === 0 ? 'en' : 'zh',
      meta: { i },
    };
    const response = `<think>${i}+1=${i + 1}</think><answer>${i + 1}</answer>`;
    return { id: `c${i}`, problem, sample: 0, response, trace: program.score(problem, response) };
  });
}
