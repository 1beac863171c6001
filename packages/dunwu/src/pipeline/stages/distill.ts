import path from 'node:path';
import { type Device, manualSeed } from '@dunwu/torch';
import type { CausalModel } from '../../model/causal-model.js';
import { loadModel } from '../../model/checkpoint.js';
import { readConfig } from '../../model/config.js';
import { Tokenizer } from '../../text/tokenizer.js';
import { vocabularyDifference } from '../../text/vocabulary.js';
import { distillFromRows } from '../../train/distill.js';
import { distillOnPolicy } from '../../train/distill-on-policy.js';
import type { TrainingSummary } from '../../train/packed-training.js';
import { sft } from '../../train/sft.js';
import { liveTeacher } from '../../train/teacher.js';
import { StoredTeacher, type StorePlan, writeTeacherStore } from '../../train/teacher-store.js';
import { useCompute } from '../compute.js';
import { Interrupted, type Note, type Provided, type StageContext, type StageResult } from '../stage.js';
import { modelOf, taskOf } from './common.js';
import { checkRowLength, prepareRows } from './dialogue-data.js';
import type { DistillStage } from './distill.schema.js';
import { newModel, parameterCount } from './new-model.js';
import { saveTrained } from './save-trained.js';

type Method<M extends DistillStage['method']> = Extract<DistillStage, { method: M }>;

/** What a method leaves besides its model. */
interface Learnt extends TrainingSummary {
  readonly notes: readonly Note[];
  readonly provided?: Provided;
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** Knowledge distillation: a new, smaller model learns from what a teacher provides. */
export async function run(ctx: StageContext, config: DistillStage): Promise<StageResult> {
  const device = useCompute(ctx.recipe.compute);
  manualSeed(ctx.seed);
  const { student, folder } = makeStudent(ctx, config, device);
  try {
    const { outcome, tokens, flops, notes, provided, extra } = await learn(ctx, config, student, folder);
    if (outcome === 'interrupted') throw new Interrupted();
    const saved = await saveTrained(ctx, student, folder);
    return {
      ...saved,
      tokens,
      flops,
      notes: [...saved.notes, ...notes],
      ...(provided === undefined ? {} : { provided }),
      ...(extra === undefined ? {} : { extra }),
    };
  } finally {
    student.dispose();
  }
}

/** The student, and the folder with its tokenizer. */
function makeStudent(
  ctx: StageContext,
  config: DistillStage,
  device: Device,
): { student: CausalModel; folder: string } {
  const { model } = config.student;
  if (model !== undefined) {
    const folder = modelOf(ctx, model);
    return { student: loadModel(folder, device), folder };
  }
  if (config.student.new === undefined) {
    throw new Error('student: there is neither a model nor the shape of a new one');
  }
  const folder =
    config.method === 'samples' ? tokenizerOf(ctx, config.student.tokenizer) : modelOf(ctx, config.teacher);
  return { student: newModel(ctx, config.student.new, Tokenizer.load(folder), 'student.new', device), folder };
}

/** The tokenizer's folder or file that an earlier stage left. @throws Error when it left none */
function tokenizerOf(ctx: StageContext, stage: string | undefined): string {
  const { tokenizer } = stage === undefined ? {} : ctx.artefact(stage);
  if (tokenizer === undefined) throw new Error(`stage '${stage}' left no tokenizer`);
  return tokenizer;
}

function learn(ctx: StageContext, config: DistillStage, student: CausalModel, folder: string): Promise<Learnt> {
  switch (config.method) {
    case 'samples':
      return fromSamples(ctx, config, student, folder);
    case 'distribution':
      return fromDistributions(ctx, config, student, folder);
    case 'on-policy':
      return onPolicy(ctx, config, student, folder);
  }
}

async function fromSamples(
  ctx: StageContext,
  config: Method<'samples'>,
  student: CausalModel,
  folder: string,
): Promise<Learnt> {
  const { rows, ...found } = rowsFor(ctx, config, student, folder);
  return { ...(await sft(ctx, student, rows, config)), ...found };
}

async function fromDistributions(
  ctx: StageContext,
  config: Method<'distribution'>,
  student: CausalModel,
  folder: string,
): Promise<Learnt> {
  const shared = shareVocabulary(ctx, config.teacher, student, folder);
  checkRowLength(ctx, config.packing.time, shared.folder);
  const { rows, notes, provided, extra } = rowsFor(ctx, config, student, folder);
  const { vocabulary } = shared;
  const { temperature, top_k: topK } = config.loss;
  const teacher = loadModel(shared.folder, student.device);
  teacher.setTrainable(false);
  const sizes = sizeNote(teacher, student);
  try {
    if (!config.stored || topK === undefined) {
      const live = liveTeacher(teacher, { temperature, topK, vocabulary });
      const summary = await distillFromRows(ctx, student, live, rows, config, vocabulary);
      return { ...summary, notes: [sizes, ...notes], provided, extra };
    }
    const plan: StorePlan = {
      temperature,
      topK: Math.min(topK, vocabulary),
      vocabulary,
      time: config.packing.time,
    };
    const store = path.join(path.dirname(ctx.datasetFile), `${ctx.name}-teacher`);
    const written = await writeTeacherStore(ctx, store, teacher, rows, plan);
    teacher.dispose();
    if (written.outcome === 'interrupted') throw new Interrupted();
    const stored = new StoredTeacher(store, plan);
    try {
      const summary = await distillFromRows(ctx, student, stored, rows, config, vocabulary);
      return { ...summary, flops: summary.flops + written.flops, notes: [sizes, ...notes], provided, extra };
    } finally {
      stored.close();
    }
  } finally {
    teacher.dispose();
  }
}

async function onPolicy(
  ctx: StageContext,
  config: Method<'on-policy'>,
  student: CausalModel,
  folder: string,
): Promise<Learnt> {
  const shared = shareVocabulary(ctx, config.teacher, student, folder);
  const teacher = loadModel(shared.folder, student.device);
  teacher.setTrainable(false);
  try {
    const tokenizer = Tokenizer.load(folder);
    const task = taskOf(ctx, config);
    const summary = await distillOnPolicy(ctx, student, teacher, tokenizer, task, config, shared.vocabulary);
    return { ...summary, notes: [sizeNote(teacher, student)] };
  } finally {
    teacher.dispose();
  }
}

function rowsFor(
  ctx: StageContext,
  config: Method<'samples'> | Method<'distribution'>,
  student: CausalModel,
  folder: string,
) {
  const { max_position_embeddings: most } = student.config;
  if (config.packing.time > most) {
    throw new Error(
      `stage '${ctx.name}', key packing.time: ${config.packing.time} exceeds the student's max_position_embeddings, ${most}`,
    );
  }
  return prepareRows(ctx, config.data, Tokenizer.load(folder), {
    mask: config.mask,
    template: config.template,
    longest: config.packing.time + 1,
  });
}

/**
 * The tokens that teacher and student are compared on: all of the tokenizer that they share. Heads may have more rows.
 * @throws Error when they do not share one, saying what differs.
 */
function shareVocabulary(
  ctx: StageContext,
  stage: string,
  student: CausalModel,
  folder: string,
): { folder: string; vocabulary: number } {
  const teacherFolder = modelOf(ctx, stage);
  const [ours, theirs] = [Tokenizer.load(folder), Tokenizer.load(teacherFolder)];
  const difference = vocabularyDifference(ours, theirs);
  if (difference !== null) {
    throw new Error(
      `stage '${ctx.name}': student and teacher (${stage}) do not share a vocabulary, so the teacher's probabilities mean ` +
        `nothing to the student: ${difference} (student, then teacher). Use a student with the teacher's tokenizer, or method samples`,
    );
  }
  const heads = [student.config.vocab_size, readConfig(teacherFolder).vocab_size];
  const vocabulary = Math.min(...heads);
  if (vocabulary < ours.vocab_size) {
    throw new Error(
      `stage '${ctx.name}': the tokenizer has ${ours.vocab_size} tokens, the heads of student and teacher ${heads.join(' and ')}`,
    );
  }
  return { folder: teacherFolder, vocabulary };
}

function sizeNote(teacher: CausalModel, student: CausalModel): Note {
  const [big, small] = [parameterCount(teacher), parameterCount(student)];
  const share = `${((100 * small) / big).toFixed(1)} %`;
  return {
    en: `teacher ${big} parameters, student ${small} (${share})`,
    zh: `教师 ${big} 个参数，学生 ${small} 个（${share}）`,
  };
}
