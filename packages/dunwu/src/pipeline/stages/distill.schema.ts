import { z } from 'zod';
import { deepseekV3Shape } from '../../model/deepseek-config.js';
import { distillFromRowsConfig, distillOnPolicyConfig } from '../../train/distill-config.js';
import { sftConfig } from '../../train/sft-config.js';
import { stageName, stageTask } from './common.schema.js';
import { dataReferences, dialogueDataList } from './dialogue-data.schema.js';
import { checkModelShape } from './model-shape.schema.js';

const studentKeys = {
  model: stageName.optional(),
  /** config.json of the model, without what the tokenizer decides. */
  new: deepseekV3Shape.optional(),
};

type Student = z.output<z.ZodObject<typeof studentKeys>>;

function checkStudent(value: Student, context: z.core.$RefinementCtx): void {
  const issue = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
  if (value.model === undefined && value.new === undefined) issue('model', 'is missing: give model, or new');
  if (value.model !== undefined && value.new !== undefined) issue('new', 'and model exclude each other: give one');
  if (value.new !== undefined) checkModelShape(value.new, ['new'], context);
}

/** The student: a model that an earlier stage left, or a new one with the teacher's tokenizer. */
const student = z.strictObject(studentKeys).superRefine(checkStudent);

/** Of `samples`, where no teacher is asked: a new student says whose tokenizer it has. */
const studentOfSamples = z
  .strictObject({
    ...studentKeys,
    /** With `new`: the stage whose tokenizer it has, the teacher's as a rule. */
    tokenizer: stageName.optional(),
  })
  .superRefine((value, context) => {
    checkStudent(value, context);
    const issue = (message: string) => context.addIssue({ code: 'custom', path: ['tokenizer'], message });
    if (value.new !== undefined && value.tokenizer === undefined) issue('is missing: new needs it');
    if (value.new === undefined && value.tokenizer !== undefined) issue('belongs to new alone');
  });

/** The stage whose model is learnt from. It has the student's tokenizer. */
const teacher = stageName;

export const schema = z.discriminatedUnion('method', [
  /** Fine-tuning on what the teacher said: the dialogues in `data`. Tokenizers may differ, so the teacher is not asked. */
  sftConfig
    .safeExtend({
      method: z.literal('samples'),
      student: studentOfSamples,
      data: dialogueDataList,
    })
    .superRefine(({ lora, student }, context) => {
      if (lora === undefined || student.new === undefined) return;
      context.addIssue({
        code: 'custom',
        path: ['lora'],
        message: 'goes with student.model: adapters of few weights on a new model leave nearly all of it random',
      });
    }),
  /** The teacher's distributions on the rows of `data`. */
  distillFromRowsConfig
    .safeExtend({
      method: z.literal('distribution'),
      teacher,
      student,
      data: dialogueDataList,
      /** Write what the teacher says once, then train from that without the teacher. Needs `loss.top_k`. */
      stored: z.boolean().default(false),
    })
    .superRefine(({ stored, loss }, context) => {
      if (stored && loss.top_k === undefined) {
        context.addIssue({
          code: 'custom',
          path: ['stored'],
          message: 'needs loss.top_k: whole vocabularies are not stored',
        });
      }
    }),
  /** The teacher's distributions on what the student says to the task's problems. */
  distillOnPolicyConfig.safeExtend({
    method: z.literal('on-policy'),
    teacher,
    student,
    /** Problems of another task than the recipe's. */
    task: stageTask,
  }),
]);

export type DistillStage = z.output<typeof schema>;

export const references = (config: DistillStage): string[] => [
  ...('teacher' in config ? [config.teacher] : []),
  ...(config.student.model === undefined ? [] : [config.student.model]),
  ...('tokenizer' in config.student && config.student.tokenizer !== undefined ? [config.student.tokenizer] : []),
  ...('data' in config ? dataReferences(config.data) : []),
];
