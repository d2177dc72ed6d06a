import type { suites } from './suites.js'

type Scores = Readonly<Record<string, readonly number[]>>

/** What Apple's model cards say of the columns of each suite, in percent, by the names of the models. */
const published: Readonly<Record<string, Scores>> = {
  'zero-shot': {
    'OpenELM-270M': [26.45, 45.08, 53.98, 46.71, 69.75, 84.7, 53.91],
    'OpenELM-270M-Instruct': [30.55, 46.68, 48.56, 52.07, 70.78, 84.4, 52.72],
    'OpenELM-450M': [27.56, 48.06, 55.78, 53.97, 72.31, 87.2, 58.01],
    'OpenELM-450M-Instruct': [30.38, 50.0, 60.37, 59.34, 72.63, 88.0, 58.96],
    'OpenELM-1_1B': [32.34, 55.43, 63.58, 64.81, 75.57, 90.6, 61.72],
    'OpenELM-1_1B-Instruct': [37.97, 52.23, 70.0, 71.2, 75.03, 89.3, 62.75],
    'OpenELM-3B': [35.58, 59.89, 67.4, 72.44, 78.24, 92.7, 65.51],
    'OpenELM-3B-Instruct': [39.42, 61.74, 68.17, 76.36, 79.0, 92.5, 66.85],
  },
  openllm: {
    'OpenELM-270M': [27.65, 47.15, 25.72, 39.24, 53.83],
    'OpenELM-270M-Instruct': [32.51, 51.58, 26.7, 38.72, 53.2],
    'OpenELM-450M': [30.2, 53.86, 26.01, 40.18, 57.22],
    'OpenELM-450M-Instruct': [33.53, 59.31, 25.41, 40.48, 58.33],
    'OpenELM-1_1B': [36.69, 65.71, 27.05, 36.98, 63.22],
    'OpenELM-1_1B-Instruct': [41.55, 71.83, 25.65, 45.95, 64.72],
    'OpenELM-3B': [42.24, 73.28, 26.76, 34.98, 67.25],
    'OpenELM-3B-Instruct': [47.7, 76.87, 24.8, 38.76, 67.96],
  },
  llm360: {
    'OpenELM-270M': [27.65, 66.79, 47.15, 25.72, 69.75, 30.91, 39.24, 53.83],
    'OpenELM-270M-Instruct': [32.51, 66.01, 51.58, 26.7, 70.78, 33.78, 38.72, 53.2],
    'OpenELM-450M': [30.2, 68.63, 53.86, 26.01, 72.31, 33.11, 40.18, 57.22],
    'OpenELM-450M-Instruct': [33.53, 67.44, 59.31, 25.41, 72.63, 36.84, 40.48, 58.33],
    'OpenELM-1_1B': [36.69, 71.74, 65.71, 27.05, 75.57, 36.46, 36.98, 63.22],
    'OpenELM-1_1B-Instruct': [41.55, 71.02, 71.83, 25.65, 75.03, 39.43, 45.95, 64.72],
    'OpenELM-3B': [42.24, 73.29, 73.28, 26.76, 78.24, 38.76, 34.98, 67.25],
    'OpenELM-3B-Instruct': [47.7, 72.33, 76.87, 24.8, 79.0, 38.47, 38.76, 67.96],
  },
}

/** Apple's own figures for a model, in the order of the columns of a suite; undefined for other models. */
export function publishedScores(suite: keyof typeof suites, model: string) {
  return published[suite]?.[model]
}
