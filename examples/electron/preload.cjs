// Passes the port to the process of the model on to the page. Nothing else of Electron is in its reach.
const { ipcRenderer } = require('electron')

ipcRenderer.on('port', ({ ports }) => window.postMessage('port', window.origin, ports))
