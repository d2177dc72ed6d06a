import { ConnectedModel } from './connected-model.js'
import type { Port } from './port.js'

/**
 * Uses the model that the other end of a port serves by `serve`.
 *
 * A call rejects with DISPOSED once the port is closed. Not every port says that its other end is gone
 * (those of a page do from Chrome 122 on): where the process of the model may end, connect again by a new
 * port.
 */
export function connect(port: Port): ConnectedModel {
  return new ConnectedModel(port)
}
