/**
 * The library behind the `dunwu` command. Each block is one room of the house; see docs/formulas.md for what stands where.
 */

export { type DialogueFile, type DialogueRow, readDialogues } from './data/dialogues.js';
export { type WorkedDialogue, workedDialogues } from './data/worked-dialogues.js';
export { type Calibration, calibration, type Forecast, type ReliabilityBin } from './eval/calibration.js';
export {
  type EvaluatedSample,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type SampledMeasures,
  summarise,
} from './eval/evaluate.js';
export { type GeneralEvaluation, type GeneralMeasures, summariseGeneral } from './eval/general.js';
export { majorityCorrect, type Vote } from './eval/majority.js';
export { checkParity, type ParityReport } from './eval/parity.js';
export {
  clusteredMean,
  clusterInterval,
  type Estimate,
  meanWithInterval,
  passAtK,
  studentT,
  wilsonInterval,
} from './eval/statistics.js';
export { loadAdapter, type SaveAdapterOptions, saveAdapter } from './model/adapter-folder.js';
export { CausalModel, type ModelInput, type ModelOutput, type Prediction } from './model/causal-model.js';
export { loadModel, type SaveOptions, saveModel } from './model/checkpoint.js';
export { isDeepseek, MODEL_TYPES, type ModelConfig, parseConfig, readConfig } from './model/config.js';
export type { Decodable } from './model/decodable.js';
export { DecodingModel, loadForDecoding } from './model/decoding-model.js';
export type { DeepseekConfig, DeepseekV2Config, DeepseekV3Config } from './model/deepseek-config.js';
export type { DenseConfig } from './model/dense-config.js';
export {
  absorbAdapters,
  addAdapters,
  mergeAdapters,
  type ReferenceModel,
  unmergeAdapters,
  withAdaptersOff,
  withoutAdapters,
} from './model/lora.js';
export { type LoraConfig, loraConfig } from './model/lora-config.js';
export { predictionDepth } from './model/mtp.js';
export { loadScalarModel, ScalarModel, saveScalarModel } from './model/scalar-model.js';
export * from './objective/index.js';
export { type Comparison, compareRuns, readRun } from './pipeline/compare.js';
export { type Accepted, acceptedOf, dialogueRow } from './pipeline/curation/curate.js';
export { type Decision, DecisionLog, follow, type Standing } from './pipeline/curation/decisions.js';
export { type Judged, type Keep, keepSchema, refusal, verdicts } from './pipeline/curation/keep.js';
export type { Lease } from './pipeline/curation/lease.js';
export { POST_PROCESS, type PostProcessName, postProcess } from './pipeline/curation/post-process.js';
export {
  type Candidate,
  CurationConflict,
  type CurationProgress,
  CurationQueue,
  type CurationSettings,
  curatedStages,
} from './pipeline/curation/queue.js';
export * from './reward/index.js';
export { RolloutEngine, type RolloutOptions, type RolloutPrompt, type Sample } from './rollout/engine.js';
export { type Sampling, samplingSchema } from './rollout/sampling-config.js';
export { SpeculativeEngine, type SpeculativeStats } from './rollout/speculative.js';
export { verifyDrafts } from './rollout/speculative-sampling.js';
export {
  canSolve,
  createGeneral,
  type GeneralFlaw,
  type GeneralTask,
  type SolvingTask,
} from './task/general.js';
export { follows, refuses, type VerifiableInstruction } from './task/instruction.js';
export { createMixture, type MixtureTask } from './task/mixture.js';
export type { Language, Problem, Split, Task } from './task/problem.js';
export { createTask, type TaskConfig } from './task/registry.js';
export { chatDialogueTokens, type DialogueTokens, dialogueTokens, type LossMask } from './text/dialogue-tokens.js';
export { renderDocument, renderPrompt, SPECIAL_TOKENS } from './text/template.js';
export { tokenOfTextEnd, tokenTextEnds } from './text/token-offsets.js';
export { Tokenizer } from './text/tokenizer.js';
export { vocabularyDifference } from './text/vocabulary.js';
export { distillFromRows } from './train/distill.js';
export {
  type DistillFromRowsConfig,
  type DistillOnPolicyConfig,
  distillFromRowsConfig,
  distillOnPolicyConfig,
} from './train/distill-config.js';
export { distillOnPolicy, type OnPolicyHost } from './train/distill-on-policy.js';
export { type DpoPair, type DpoSummary, dpo } from './train/dpo.js';
export { type DpoConfig, dpoConfig } from './train/dpo-config.js';
export { type GrpoHost, grpo } from './train/grpo.js';
export { type GrpoConfig, grpoConfig } from './train/grpo-config.js';
export { addModelRewards, type ModelReward, type ResponseScorer } from './train/model-rewards.js';
export { type Following, followingTokens, multiTokenObjective, multiTokenTraining } from './train/multi-token.js';
export { type MultiTokenConfig, multiTokenSchema, multiTokenWeight } from './train/multi-token-config.js';
export { Optimizer } from './train/optimizer.js';
export { type TrainingSummary, trainPacked } from './train/packed-training.js';
export {
  type PolicyOutput,
  type PolicyUpdateConfig,
  type PolicyUpdateModels,
  policyOutput,
  responseLogprobs,
  updatePolicy,
} from './train/policy-update.js';
export { type PpoHost, type PpoModels, ppo } from './train/ppo.js';
export { type PpoConfig, ppoConfig } from './train/ppo-config.js';
export { pretrain } from './train/pretrain.js';
export {
  type LabelExample,
  type PairExample,
  type RewardEvaluation,
  type RewardExamples,
  trainRewardModel,
} from './train/reward-model.js';
export { type RewardModelConfig, rewardModelConfig } from './train/reward-model-config.js';
export { type Rollout, type RolloutPlan, rollOut, type ScoredRollout, scoreRollouts } from './train/rollouts.js';
export { sft } from './train/sft.js';
export { type SftConfig, sftConfig } from './train/sft-config.js';
export { liveTeacher, type Teacher } from './train/teacher.js';
export { StoredTeacher, writeTeacherStore } from './train/teacher-store.js';
export { responseValues, updateValues, type ValueOutput } from './train/value-update.js';
export { readParquet } from './util/parquet.js';
export { Random } from './util/random.js';
