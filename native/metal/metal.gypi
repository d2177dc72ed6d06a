# The Metal backend on Apple's systems; elsewhere a stub that says so. For binding.gyp, whose target
# depends on `metal`.
{
  'targets': [
    {
      'target_name': 'metal',
      'type': 'static_library',
      'cflags': ['-fPIC', '-fvisibility=hidden', '-ffp-contract=off', '-fno-math-errno'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17'],
      'cflags_cc': ['-std=c++20'],
      'xcode_settings': {
        'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
        'CLANG_CXX_LIBRARY': 'libc++',
        'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
        'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
        'MACOSX_DEPLOYMENT_TARGET': '11.0',
      },
      'msvs_settings': {
        'VCCLCompilerTool': {
          'AdditionalOptions!': ['-std:c++17'],
          'AdditionalOptions': ['/std:c++20', '/utf-8'],
          'ExceptionHandling': 1,
        },
      },
      'conditions': [
        ['OS != "mac"', {
          'sources': ['no_metal.cc'],
        }, {
          'sources': [
            '<!@(node -p "fs.readdirSync(\'native/metal\').filter(name => /[.]cc$/.test(name) && name !== \'no_metal.cc\').map(name => \'native/metal/\' + name).join(\' \')")',
          ],
          'include_dirs': ['<(INTERMEDIATE_DIR)'],
          'actions': [{
            'action_name': 'embed_shaders',
            'inputs': [
              '../kernel_args.h',
              '<!@(node -p "fs.readdirSync(\'native/metal\').filter(name => /[.](metal|h|mjs)$/.test(name)).map(name => \'native/metal/\' + name).join(\' \')")',
            ],
            'outputs': ['<(INTERMEDIATE_DIR)/metal_source.h'],
            'action': ['node', 'native/metal/embed_shaders.mjs', '<@(_outputs)'],
          }],
          'link_settings': {
            'libraries': ['-framework Metal', '-framework Foundation', '-lobjc'],
          },
        }],
      ],
    },
  ],
}
