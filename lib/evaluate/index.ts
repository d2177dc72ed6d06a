/**
 * Scoring models on the tasks by which OpenELM was measured.
 *
 * @module
 */
export { type EvaluateOptions, type EvaluationProgress, evaluate } from './evaluate.js'
export type { EvaluationReport, ResultEntry, TaskScores } from './report.js'
export { type EvaluationResults, mergeResults, type SuiteScores } from './results.js'
export { type Column, suites } from './suites.js'
export type { EvaluationSample } from './task-run.js'
