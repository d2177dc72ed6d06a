{
  'variables': {
    # Every build rounds alike: no product is fused with a sum unless a kernel asks for it.
    'float_flags': ['-ffp-contract=off', '-fno-math-errno'],
  },
  'targets': [
    {
      'target_name': 'openelm',
      'sources': [
        '<!@(node -p "require(\'fs\').readFileSync(\'native/sources.txt\', \'utf8\').trim().split(/\\s+/).map(name => \'native/\' + name).join(\' \')")',
      ],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': [
        'NAPI_VERSION=9',
        'NAPI_CPP_EXCEPTIONS',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        'NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED',
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'cflags': ['-fvisibility=hidden', '<@(float_flags)'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17'],
      'cflags_cc': ['-std=c++20'],
      'xcode_settings': {
        'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
        'CLANG_CXX_LIBRARY': 'libc++',
        'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
        'GCC_ENABLE_CPP_RTTI': 'YES',
        'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
        'MACOSX_DEPLOYMENT_TARGET': '11.0',
        'OTHER_CFLAGS': ['<@(float_flags)'],
      },
      'msvs_settings': {
        'VCCLCompilerTool': {
          'AdditionalOptions!': ['-std:c++17'],
          'AdditionalOptions': ['/std:c++20', '/utf-8'],
          'ExceptionHandling': 1,
          'FloatingPointModel': 0,  # /fp:precise
          'RuntimeTypeInfo': 'true',
        },
      },
      'conditions': [
        ['OS == "linux"', {'ldflags!': ['-rdynamic'], 'ldflags': ['-Wl,-s']}],
        ['OS == "win"', {'defines': ['NOMINMAX', '_HAS_EXCEPTIONS=1'], 'defines!': ['_HAS_EXCEPTIONS=0']}],
      ],
    },
  ],
}
