import { createHash } from 'node:crypto'

const animals = list(
  'cat dog bird bear frog rabbit mouse fish duck lion pig cow horse monkey squirrel butterfly bee turtle ' +
    'owl puppy kitten fox',
)
const objects = list(
  'ball boat car blanket book chair box truck cake banana crown puzzle flower drum stick bag swing bike ' +
    'pencil rock cookie cup shoe basket robot spoon picture train hat kite star apple balloon lamp toy',
)
const places = list('park zoo store garden forest house farm pond lake castle school town')
const looks = list('red big little blue shiny pretty yellow new soft green')
const names = list('Lily Tim Tom Sam Ben Mia Max Anna Jack Sue Lucy Bob Amy Spot Fluffy Mimi')

/** Beginnings of stories. Each names an animal and a thing, and most of them a place. */
const patterns = [
  'Once upon a time, there was {an animal} named {name}. {name} had {a thing}.',
  'Once upon a time, there was {an animal} who had {a thing}.',
  'Once upon a time, there was {an animal} in {the place}. The {animal} found {a thing}.',
  'Once upon a time, {an animal} named {name} lived in {the place}. {name} loved to play with {a thing}.',
  'Once upon a time, {an animal} and {a thing} were in {the place}.',
  'One day, {an animal} found {a thing} in {the place}.',
  'One day, {an animal} went to {the place} with {a thing}.',
  'One day, {an animal} named {name} saw {a thing}.',
  'There was {an animal} who lived in {the place}. The {animal} wanted {a thing}.',
  'There was {an animal} named {name}. One day, {name} saw {a thing} in {the place}.',
  'A little {animal} had {a thing}. The {animal} took the {thing} to {the place}.',
  '{name} was {an animal} who lived in {the place}. {name} had {a thing}.',
  'In {the place}, there was {an animal}. The {animal} had {a thing}.',
  'Once upon a time, there was {an animal}. The {animal} liked to go to {the place}. ' +
    'One day, the {animal} saw {a thing}.',
]

/**
 * The opening of story `index`: its text, and the things that it names, such as `cat`, `red ball` and
 * `park`. One in ten names nothing.
 *
 * @param {number} index
 * @returns {{ opening: string, things: string[] }}
 */
export function opening(index) {
  const random = numbers(index)
  if (random(10) === 0) return { opening: 'Once upon a time, there was a', things: [] }
  for (;;) {
    const story = draw(random)
    if (!isKept(story.things)) return story
  }
}

/** An animal, a thing and a place that stories may be told about together. */
export function things(random) {
  for (;;) {
    const asked = choose(random)
    if (!isKept(asked)) return asked
  }
}

/** An animal, a thing and a place that no story was told about together. */
export function unseenThings(random) {
  for (;;) {
    const asked = choose(random)
    if (isKept(asked)) return asked
  }
}

function draw(random) {
  const [animal, kind, place] = choose(random)
  const look = pick(random, looks)
  const name = pick(random, names)
  const thing = random(3) === 0 ? `${look} ${kind}` : kind
  const pattern = pick(random, patterns)
  const words = {
    animal,
    thing: kind,
    name,
    'an animal': aOrAn(animal),
    'a thing': aOrAn(thing),
    'the place': `the ${place}`,
  }
  const about = pattern.includes('{the place}') ? [animal, thing, place] : [animal, thing]
  return { opening: pattern.replace(/\{(.+?)\}/g, (_, word) => words[word]), things: about }
}

function choose(random) {
  return [animals, objects, places].map(list => pick(random, list))
}

function pick(random, list) {
  return list[random(list.length)]
}

/** @param {string} thing */
export function aOrAn(thing) {
  return `${/^[aeiou]/.test(thing) ? 'an' : 'a'} ${thing}`
}

/** Whether three things are kept for questions that the model has not been trained on. */
function isKept(asked) {
  return asked.length === 3 && hash(`kept ${asked.map(noun).join(' ')}`)[0] < 16
}

/** @param {string} thing */
export function noun(thing) {
  return thing.split(' ').at(-1)
}

/** A generator of whole numbers below a bound, from a seed. */
export function numbers(seed) {
  let count = 0
  return below => hash(`${seed} ${count++}`).readUInt32LE(0) % below
}

function hash(text) {
  return createHash('sha256').update(text).digest()
}

function list(words) {
  return words.split(' ')
}
