import { aOrAn, noun } from './openings.mjs'

/** Ways to ask for a story about THINGS. */
const questions = [
  'Tell me a story about THINGS.',
  'Tell me a story about THINGS.',
  'Tell me a story with THINGS.',
  'Can you tell me a story about THINGS?',
  'Please tell a story about THINGS.',
  'Write a story about THINGS.',
  'I want to hear a story about THINGS.',
]

/**
 * A wish for a story about things such as `cat` and `red ball`.
 *
 * @param {readonly string[]} things at least one
 * @param {(below: number) => number} random
 */
export function question(things, random) {
  const named = things.map(aOrAn)
  const last = named.pop()
  const list = named.length === 0 ? last : `${named.join(', ')} and ${last}`
  return questions[random(questions.length)].replace('THINGS', list)
}

/**
 * How often a story names a thing: one or several of it.
 *
 * @param {string} story
 * @param {string} thing such as `red ball`; what it looks like does not count
 */
export function countNamed(story, thing) {
  return story.match(new RegExp(`\\b${noun(thing)}(?:s|es)?\\b`, 'gi'))?.length ?? 0
}

/** Whether a story says "the cat and the cat" and the like, as a small teacher will. */
export function stammers(story) {
  return /\b(?:the )?(\w+),? and (?:the |a )?\1\b/i.test(story)
}
