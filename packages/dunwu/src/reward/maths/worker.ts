import { serveSync } from '../../util/sync-worker.js';
import { compareMaths, type MathsOptions, type MathsVerdict } from './equality.js';

export interface MathsRequest {
  readonly gold: string;
  readonly answer: string;
  readonly options: MathsOptions;
}

// The library is loaded here, in the thread, and nowhere else: a run of plain numbers pays nothing for it.
serveSync<MathsRequest, MathsVerdict>(({ gold, answer, options }) => compareMaths(gold, answer, options));
