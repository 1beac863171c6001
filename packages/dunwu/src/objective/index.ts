export {
  type AdvantageConfig,
  advantageSchema,
  GRPO_ADVANTAGE,
  type GroupAdvantages,
  type GroupStatistics,
  groupAdvantages,
} from './advantage.js';
export {
  type DistillationConfig,
  type Divergence,
  distillationLoss,
  distillationSchema,
  divergencePerToken,
  type TeacherTargets,
  teacherTargets,
} from './distillation.js';
export { type DpoInputs, type DpoOptions, dpoLoss } from './dpo.js';
export { explainedVariance, type GaeConfig, type GaeResult, gae, gaeSchema, whiten } from './gae.js';
export {
  KL_ESTIMATOR_NAMES,
  KL_ESTIMATORS,
  type KlConfig,
  type KlEstimator,
  type KlEstimatorName,
  type KlInputs,
  klNeeds,
  klPerToken,
  klSchema,
} from './kl.js';
export { exactKl, type KlLabRow, type KlLabSettings, klLab, LAB_ESTIMATORS } from './kl-lab.js';
export { type LanguageModelLossOptions, languageModelLoss } from './language-model.js';
export { combineMetrics, type Metric, type Metrics, type Objective } from './metrics.js';
export { type PolicyLossConfig, type PolicyLossInputs, policyLoss, policyLossSchema } from './policy-loss.js';
export { type PreferenceLossOptions, preferenceLoss, safetyLoss } from './preference.js';
export {
  type GrpoAdvantageConfig,
  grpoAdvantageSchema,
  type ProcessAdvantageConfig,
  type ProcessAdvantages,
  processAdvantages,
  type SteppedOutput,
} from './process-advantage.js';
export { tokenRewards } from './token-rewards.js';
export { type ValueLossInputs, type ValueLossOptions, valueLoss } from './value-loss.js';
