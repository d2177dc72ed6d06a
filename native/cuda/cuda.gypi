# The CUDA backend, where NVIDIA's compiler is, 12.8 or newer; elsewhere a stub that says so. For
# binding.gyp, whose target depends on `cuda`.
{
  'variables': {
    'cuda_home%': '<!(node native/cuda/find_cuda.mjs)',
    # Code for every architecture since Turing, and Hopper's PTX for those to come.
    'cuda_targets': [
      '-gencode', 'arch=compute_75,code=sm_75',
      '-gencode', 'arch=compute_80,code=sm_80',
      '-gencode', 'arch=compute_86,code=sm_86',
      '-gencode', 'arch=compute_89,code=sm_89',
      '-gencode', 'arch=compute_90,code=sm_90',
      '-gencode', 'arch=compute_100,code=sm_100',
      '-gencode', 'arch=compute_120,code=sm_120',
      '-gencode', 'arch=compute_90,code=compute_90',
    ],
  },
  'targets': [
    {
      'target_name': 'cuda',
      'type': 'static_library',
      'cflags': ['-fPIC', '-fvisibility=hidden', '-ffp-contract=off', '-fno-math-errno'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17'],
      'cflags_cc': ['-std=c++20'],
      'xcode_settings': {
        'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
        'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
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
        ['cuda_home == ""', {
          'sources': ['no_cuda.cc'],
        }, {
          'sources': [
            '<!@(node -p "fs.readdirSync(\'native/cuda\').filter(name => /[.](cu|cc)$/.test(name) && name !== \'no_cuda.cc\').map(name => \'native/cuda/\' + name).join(\' \')")',
          ],
          'include_dirs': ['<(cuda_home)/include'],
          'rules': [{
            'rule_name': 'nvcc',
            'extension': 'cu',
            'inputs': ['<!@(node -p "fs.readdirSync(\'native/cuda\').filter(name => /[.](cuh|h)$/.test(name)).map(name => \'native/cuda/\' + name).join(\' \')")'],
            'outputs': ['<(INTERMEDIATE_DIR)/<(RULE_INPUT_ROOT).cu.o'],
            'process_outputs_as_sources': 1,
            'action': [
              '<(cuda_home)/bin/nvcc', '-std=c++20', '-O3', '--compress-mode=size',
              '-Xcompiler', '-fPIC,-fvisibility=hidden', '<@(cuda_targets)',
              '-c', '<(RULE_INPUT_PATH)', '-o', '<@(_outputs)',
            ],
          }],
          'link_settings': {
            'libraries': ['<(cuda_home)/lib64/libcudart_static.a', '-ldl', '-lrt', '-lpthread'],
          },
        }],
      ],
    },
  ],
}
