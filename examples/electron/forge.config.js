// The same for Electron Forge, instead of electron-builder.yml. Fuses: its plugin-fuses, with the values there.
export default {
  packagerConfig: {
    asar: { unpack: '**/node_modules/{openelm-*,openelm/models}/**' },
  },
  // The addon uses Node-API alone, so that it need not be compiled for Electron.
  rebuildConfig: { onlyModules: [] },
}
