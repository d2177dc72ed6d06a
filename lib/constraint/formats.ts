const date =
  '[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))'
const time =
  '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])'
const label = '[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?'
const octet = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
const group = '[0-9A-Fa-f]{1,4}'
const path = "[A-Za-z0-9._~!$&'()*+,;=:@/-]{0,200}"

/**
 * What a string of a format looks like: never one that the format does not allow, and not all that it
 * allows (29 February is left out, and an address with comments).
 */
export const formats: Readonly<Record<string, string>> = {
  'date-time': `^${date}T${time}$`,
  date: `^${date}$`,
  time: `^${time}$`,
  duration:
    '^P([0-9]{1,4}W|[0-9]{1,4}D|[0-9]{1,4}M([0-9]{1,4}D)?|[0-9]{1,4}Y([0-9]{1,4}M([0-9]{1,4}D)?)?)$',
  email: `^[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,16}){0,2}@(${label}\\.){1,4}[A-Za-z]{2,10}$`,
  hostname: `^(${label}\\.){0,4}${label}$`,
  ipv4: `^${octet}(\\.${octet}){3}$`,
  ipv6: `^(${group}(:${group}){7}|::(${group}(:${group}){0,5})?|${group}::(${group}(:${group}){0,4})?)$`,
  uri: `^https?://(${label}\\.){1,4}[A-Za-z]{2,10}(:[1-9][0-9]{0,3})?(/${path})?(\\?${path})?(#${path})?$`,
  uuid: '^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$',
}
