# The build that ships. CMakeLists.txt is the developer's; both compile what native/sources.txt lists.
# `npm run build:native` copies this file to the package's root, where node-gyp wants it; it does not
# ship there, because some package managers compile what has one. Its paths start from the root.
{
  'variables': {
    # Every build rounds alike: no product is fused with a sum unless a kernel asks for it.
    'float_flags': ['-ffp-contract=off', '-fno-math-errno'],
    # Where CUDA is, 12.8 or newer; nothing leaves its kernels out.
    'cuda_home%': '<!(node native/cuda/find_cuda.mjs home)',
    # What nvcc's -arch takes, or `all`, which ships.
    'cuda_architectures%': '<!(node native/cuda/find_cuda.mjs architectures)',
  },
  'targets': [
    {
      'target_name': 'openelm',
      'sources': ['<!@(node native/sources.mjs engine addon)'],
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
        ['cuda_home == ""', {
          'sources': ['<!@(node native/sources.mjs no_cuda)'],
        }, {
          'sources': ['<!@(node native/sources.mjs cuda)'],
          'include_dirs': ['<(cuda_home)/include'],
          'libraries': ['<(cuda_home)/lib64/libcudart_static.a', '-ldl', '-lrt', '-lpthread'],
          'rules': [{
            'rule_name': 'nvcc',
            'extension': 'cu',
            'inputs': ['<!@(node native/headers.mjs cuda)'],
            'outputs': ['<(INTERMEDIATE_DIR)/<(RULE_INPUT_ROOT).cu.o'],
            'process_outputs_as_sources': 1,
            'action': [
              '<(cuda_home)/bin/nvcc', '--options-file', 'native/cuda/nvcc_flags.txt',
              '<@(cuda_target)', '-c', '<(RULE_INPUT_PATH)', '-o', '<@(_outputs)',
            ],
          }],
          'conditions': [
            ['cuda_architectures == "all"', {
              'variables': {'cuda_target': ['--options-file', 'native/cuda/all_architectures.txt']},
            }, {
              'variables': {'cuda_target': ['-arch=<(cuda_architectures)']},
            }],
          ],
        }],
        ['OS != "mac"', {
          'sources': ['<!@(node native/sources.mjs no_metal)'],
        }, {
          'sources': ['<!@(node native/sources.mjs metal)'],
          'include_dirs': ['<(INTERMEDIATE_DIR)'],
          # Without CoreGraphics a program of the command line finds no device.
          'libraries': [
            '-framework Metal', '-framework Foundation', '-framework CoreGraphics', '-lobjc',
          ],
          'actions': [{
            'action_name': 'embed_shaders',
            'inputs': ['<!@(node native/headers.mjs metal)'],
            'outputs': ['<(INTERMEDIATE_DIR)/metal_source.h'],
            'action': ['node', 'native/metal/embed_shaders.mjs', '<@(_outputs)'],
          }],
        }],
      ],
    },
  ],
}
