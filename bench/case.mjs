// One measurement in a process of its own: node case.mjs ENGINE KIND SPEC, with the spec as JSON.
// Prints one JSON value. Every engine in engines/ exports the same functions, one for each kind.
const [engine, kind, spec] = process.argv.slice(2)
const measures = await import(`./engines/${engine}.mjs`)
console.log(JSON.stringify(await measures[kind](JSON.parse(spec))))
