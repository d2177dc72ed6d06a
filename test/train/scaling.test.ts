import t from 'tap'
import { countParameters, presets } from '../../lib/config.js'
import { predictScaling } from '../../lib/train/scaling.js'

t.test('the model of scaling', t => {
  const options = { ranks: 128, tokens: 4_194_304, flops: 4e12, bandwidth: 1.1e9 }
  const config = presets['270M']
  const { bytes, computeSeconds, exchangeSeconds, efficiency } = predictScaling(config, options)
  t.equal(bytes, (8 * countParameters(config) * 127) / 128)
  t.equal(exchangeSeconds, bytes / 1.1e9)
  t.ok(Math.abs(computeSeconds - 14.9) < 0.1, `${computeSeconds} s`)
  t.ok(Math.abs(efficiency - 0.88) < 0.005, `${efficiency}`)
  t.equal(predictScaling(config, { ...options, ranks: 1 }).efficiency, 1)
  const other = predictScaling(presets['3B'], options).efficiency
  t.ok(Math.abs(other - efficiency) < 1e-12, 'whatever the model')
  t.throws(() => predictScaling(config, { ...options, ranks: 0 }), /expected options.ranks/)
  t.end()
})
