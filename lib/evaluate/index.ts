/**
 * Scoring models on the tasks by which OpenELM was measured.
 *
 * @module
 */
export { type DownloadOptions, downloadData } from './download-data.js'
export { type EvaluateOptions, type EvaluationProgress, evaluate } from './evaluate.js'
export { formatReport } from './format-report.js'
export { listTasks, numDocumentsOf, type TaskInfo } from './list-tasks.js'
export { publishedScores } from './published.js'
export type { EvaluationReport, ResultEntry, TaskScores } from './report.js'
export { readResults, writeResults, writeSamples } from './result-files.js'
export { type EvaluationResults, mergeResults, type SuiteScores } from './results.js'
export { type ScoreSeries, scorePlot } from './score-plot.js'
export { type Column, suites } from './suites.js'
export type { EvaluationSample } from './task-run.js'
