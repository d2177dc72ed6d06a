/** What Node looks up in an addon, and all that ours gives. */
export const entryPoints = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
