export { type AnswerForm, type Extraction, type ExtractOptions, extractAnswer, parseGold } from './answer.js';
export { type Equation, findEquations } from './equations.js';
export { findNumbers, type NumberToken, readNumber, sameNumber } from './number.js';
export { RewardProgram, type RewardProgramConfig, rewardProgramConfig } from './program.js';
export { type Readability, readability, readabilityParts } from './readability.js';
export { type Repetition, repetition } from './repetition.js';
export {
  type PromptedResponse,
  RewardModel,
  type RewardModelKind,
  type RewardModelReads,
  rewardTokens,
} from './reward-model.js';
export { type AccuracyOptions, accuracyRule } from './rules/accuracy.js';
export { type CodeOptions, codeRule } from './rules/code.js';
export { formatRule } from './rules/format.js';
export { RULE_NAMES, RULES, type RuleDefinition, type RuleName, ruleNames } from './rules/index.js';
export { type InstructionOptions, instructionRule } from './rules/instruction.js';
export { languageConsistency, languageRule, mixesLanguages } from './rules/language.js';
export { type LengthOptions, lengthRule } from './rules/length.js';
export { type ReadabilityOptions, readabilityRule } from './rules/readability.js';
export { type RepetitionOptions, repetitionRule } from './rules/repetition.js';
export { type StepsOptions, stepsRule } from './rules/steps.js';
export { chainOfThought, finalPart, finalSpan } from './tags.js';
export type { Part, PartStatus, Rule, RuleResult, Span, StepPoints, Trace, TraceStep } from './trace.js';
export {
  type ImportOptions,
  importRules,
  type RuleOptions,
  registerRule,
  type UserRule,
  type Verdict,
} from './user-rules.js';
