import { type Device, type Sequences, type Tensor, tensor } from '@dunwu/torch';

/** Rows of sequences laid end to end, on the host; what data/packing.ts gives. Row-major, `time + 1` tokens a row. */
export interface PackedRows {
  readonly batch: number;
  readonly time: number;
  /** [batch, time + 1] */
  readonly tokens: Int32Array;
  /** [batch, time + 1]: which sequence of its row a token belongs to; −1 is padding. */
  readonly segments: Int32Array;
  /** [batch, time + 1]: place within its sequence. */
  readonly positions: Int32Array;
}

/** The same as tensors: inputs [batch, time], targets [batch · time] (the next token), positions and starts. */
export interface PackedTensors {
  readonly tokens: Tensor;
  readonly positions: Tensor;
  readonly targets: Tensor;
  /** int64 [batch, time]: where in its row each token's sequence begins, so that it sees itself only. */
  readonly starts: Tensor;
  /** The same as whole sequences; what fills a row up is one. */
  readonly sequences: Sequences;
  /** Bool [batch · time]: tokens whose prediction is asked for; not padding, not a sequence's last token. */
  readonly predicts: Tensor;
}

/** Puts rows on the device. Call inside a scope. */
export function packedTensors(rows: PackedRows, device: Device): PackedTensors {
  const { batch, time } = rows;
  const on = { shape: [batch, time + 1], device };
  const wide = tensor(rows.tokens, on).to('int64');
  const segments = tensor(rows.segments, on);
  const inputs = Int32Array.from({ length: batch * time }, (_, i) => {
    const row = Math.floor(i / time);
    return rows.segments[row * (time + 1) + (i % time)] as number;
  });
  const own = segments.narrow(1, 0, time);
  const starts = segmentStarts(inputs, batch, time);
  const { bounds, longest } = sequenceBounds(starts, time);
  return {
    tokens: wide.narrow(1, 0, time).contiguous(),
    positions: tensor(rows.positions, on).narrow(1, 0, time).to('int64'),
    targets: wide.narrow(1, 1, time).reshape([-1]),
    starts: tensor(starts, { shape: [batch, time], device }).to('int64'),
    sequences: { bounds: tensor(bounds, { device }), longest },
    predicts: own
      .ge(0)
      .logicalAnd(own.eq(segments.narrow(1, 1, time)))
      .reshape([-1]),
  };
}

/** segments [batch, time] → for each token the place in its row where its segment begins. */
export function segmentStarts(segments: Int32Array, batch: number, time: number): Int32Array {
  const starts = new Int32Array(batch * time);
  for (let row = 0; row < batch; row++) {
    for (let at = 1; at < time; at++) {
      const place = row * time + at;
      starts[place] = segments[place] === segments[place - 1] ? (starts[place - 1] as number) : at;
    }
  }
  return starts;
}

/** starts of {@link segmentStarts} → where each segment begins, counted in all places, and the end of the last one. */
export function sequenceBounds(starts: Int32Array, time: number): { bounds: Int32Array; longest: number } {
  const bounds: number[] = [];
  starts.forEach((start, place) => {
    if (place % time === start) bounds.push(place);
  });
  bounds.push(starts.length);
  const longest = bounds.reduce((most, end, i) => Math.max(most, end - (bounds[i - 1] ?? 0)), 0);
  return { bounds: Int32Array.from(bounds), longest };
}

/** A sequence to train on: `tokens`, of which those from `promptLength` on are the response. */
export interface TrainingSequence {
  readonly tokens: readonly number[];
  readonly promptLength: number;
}

/** Of the N response tokens of packed sequences, in the order of the sequences given. */
export interface ResponsePlaces {
  /** Flat positions whose next token is a response token. */
  readonly places: Int32Array;
  /** Which of the given sequences each belongs to. */
  readonly owners: Int32Array;
  /** The response token. */
  readonly targets: Int32Array;
}

/** @param firsts of each sequence, the place of its first token (were it whole) */
export function responsePlaces(sequences: readonly TrainingSequence[], firsts: Int32Array): ResponsePlaces {
  const places: number[] = [];
  const owners: number[] = [];
  const targets: number[] = [];
  sequences.forEach(({ tokens, promptLength }, owner) => {
    for (let i = promptLength; i < tokens.length; i++) {
      places.push((firsts[owner] as number) + i - 1);
      owners.push(owner);
      targets.push(tokens[i] as number);
    }
  });
  return { places: Int32Array.from(places), owners: Int32Array.from(owners), targets: Int32Array.from(targets) };
}

export interface PackedSequences extends PackedRows, ResponsePlaces {}

/**
 * Packs sequences into rows of at most `time` inputs, longest first into the first row with room, so that little is
 * padding; rows are then trimmed to the longest one.
 * @throws Error when a sequence does not fit one row.
 */
export function packSequences(sequences: readonly TrainingSequence[], time: number): PackedSequences {
  const order = sequences.map((_, i) => i).sort((a, b) => lengthOf(sequences, b) - lengthOf(sequences, a) || a - b);
  const rows: { used: number; members: number[] }[] = [];
  for (const index of order) {
    const length = lengthOf(sequences, index);
    if (length > time + 1) throw new Error(`a sequence of ${length} tokens does not fit rows of ${time} positions`);
    let row = rows.find(({ used }) => used + length <= time + 1);
    if (row === undefined) {
      row = { used: 0, members: [] };
      rows.push(row);
    }
    row.members.push(index);
    row.used += length;
  }
  const width = Math.max(1, ...rows.map(({ used }) => used));
  const trimmed = width - 1;
  const tokens = new Int32Array(rows.length * width);
  const segments = new Int32Array(rows.length * width).fill(-1);
  const positions = new Int32Array(rows.length * width);
  const starts = new Int32Array(sequences.length);
  rows.forEach(({ members }, row) => {
    let at = 0;
    members.forEach((index, segment) => {
      starts[index] = row * trimmed + at;
      (sequences[index]?.tokens ?? []).forEach((token, i) => {
        const place = row * width + at + i;
        tokens[place] = token;
        segments[place] = segment;
        positions[place] = i;
      });
      at += lengthOf(sequences, index);
    });
  });
  return {
    batch: rows.length,
    time: trimmed,
    tokens,
    segments,
    positions,
    ...responsePlaces(sequences, starts),
  };
}

function lengthOf(sequences: readonly TrainingSequence[], index: number): number {
  return sequences[index]?.tokens.length ?? 0;
}
