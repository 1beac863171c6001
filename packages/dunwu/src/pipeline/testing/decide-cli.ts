import { existsSync, writeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { CurationConflict, CurationQueue } from '../curation/queue.js';

// A person in a hurry: decide-cli RUN STAGE WHO accept|reject ROUNDS. Waits for the file RUN/go, decides about every
// candidate again and again, and prints what was written (the uid) or refused (`-`), each after it happened.
const [run = '', stage = '', who = '', decision, rounds = '1'] = process.argv.slice(2);
const queue = CurationQueue.open(run, stage);
const say = (text: string) => writeSync(1, `${text}\n`);
say('ready');
while (!existsSync(`${run}/go`)) await setTimeout(1);
for (let round = 0; round < Number(rounds); round++) {
  for (const { id } of queue.candidates()) {
    const seen = queue.standing(id);
    try {
      const made = queue.decide(
        id,
        decision === 'reject' ? { decision, who, reason: `没有 ${round}` } : { decision: 'accept', who },
        seen,
      );
      say(made.uid);
    } catch (error) {
      if (!(error instanceof CurationConflict)) throw error;
      say('-');
    }
  }
}
