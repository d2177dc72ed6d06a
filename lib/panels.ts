import type { OpenELMConfig } from './config.js'

/** Rows of a matrix that a panel of a packed checkpoint holds. */
export const panelRows = 16

/**
 * Which rows stand together in panels: those of the gate and of the other half of `proj_1` take turns,
 * panel by panel. native/panels.h has the same rule.
 */
export type PanelLayout = 'plain' | 'gateUp'

/** Of a matrix by its Hugging Face name. */
export function panelLayout(name: string, { ffnWithGlu }: OpenELMConfig): PanelLayout {
  return ffnWithGlu && name.endsWith('.ffn.proj_1.weight') ? 'gateUp' : 'plain'
}

/** How many panels so many rows make; the last one is filled up. */
export function countPanels(rows: number, layout: PanelLayout): number {
  const halves = layout === 'gateUp' ? 2 : 1
  return halves * Math.ceil(rows / halves / panelRows)
}
