import { Argument, Command, Help, type Option } from 'commander'

/** The scripts are made from the definitions of the commands, so they always list all of them. */
export const completion = new Command('completion')
  .description('print a script that completes commands and options in a shell')
  .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
  .addHelpText(
    'after',
    `
Examples:
  $ openelm completion bash >> ~/.bashrc
  $ openelm completion zsh >> ~/.zshrc
  $ openelm completion fish > ~/.config/fish/completions/openelm.fish`,
  )
  .action((shell: 'bash' | 'zsh' | 'fish', _, command: Command) => {
    const commands = command.parent!.commands
    console.log(shell === 'fish' ? fishScript(commands) : bashScript(commands, shell))
  })

/** The options of a command, --help included. */
function optionsOf(command: Command): Option[] {
  return new Help().visibleOptions(command)
}

/** The words that can follow a word: the values of an option or an argument that has a choice. */
function choicesOf(command: Command) {
  const values = [
    ...optionsOf(command).map(option => [option.long!, option.argChoices] as const),
    // A first argument follows the name of the command, as a value follows its option.
    ...command.registeredArguments.map(argument => [command.name(), argument.argChoices] as const),
  ]
  return values.filter((entry): entry is [string, string[]] => entry[1] !== undefined)
}

/** A script for bash. zsh runs the same script with bashcompinit. */
function bashScript(commands: readonly Command[], shell: 'bash' | 'zsh'): string {
  const options = commands.map(
    command => [command.name(), optionsOf(command).map(({ long }) => long!)] as const,
  )
  const values = commands.flatMap(command =>
    choicesOf(command).map(([word, choices]) => [`${command.name()} ${word}`, choices] as const),
  )
  const arm = ([pattern, words]: readonly [string, readonly string[]]) =>
    `      '${pattern}') words='${words.join(' ')}' ;;`
  return [
    ...(shell === 'zsh' ? ['autoload -U +X bashcompinit && bashcompinit'] : []),
    '_openelm() {',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash.
    '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=',
    '  COMPREPLY=()',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    words='${commands.map(command => command.name()).join(' ')}'`,
    '  else',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash.
    '    case "${COMP_WORDS[1]} $before" in',
    ...values.map(arm),
    '    esac',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash.
    '    if [ -z "$words" ] && [ "${word#-}" != "$word" ]; then case "${COMP_WORDS[1]}" in',
    ...options.map(arm),
    '    esac; fi',
    '  fi',
    '  [ -z "$words" ] || COMPREPLY=($(compgen -W "$words" -- "$word"))',
    '}',
    'complete -o default -F _openelm openelm',
  ].join('\n')
}

function fishScript(commands: readonly Command[]): string {
  const quote = (text: string) => `'${text.replace(/[\\']/g, '\\$&')}'`
  const lines = commands.flatMap(command => {
    const name = command.name()
    const inCommand = `complete -c openelm -n '__fish_seen_subcommand_from ${name}'`
    const ofOption = (option: Option) =>
      [
        inCommand,
        `-l ${option.long!.slice(2)}`,
        ...(option.short ? [`-s ${option.short.slice(1)}`] : []),
        ...(option.argChoices ? [`-x -a ${quote(option.argChoices.join(' '))}`] : []),
        ...(option.argChoices || option.isBoolean() ? [] : ['-r']),
        `-d ${quote(option.description)}`,
      ].join(' ')
    return [
      `complete -c openelm -f -n __fish_use_subcommand -a ${name} -d ${quote(command.description())}`,
      ...command.registeredArguments
        .filter(({ argChoices }) => argChoices)
        .map(({ argChoices }) => `${inCommand} -f -a ${quote(argChoices!.join(' '))}`),
      ...optionsOf(command).map(ofOption),
    ]
  })
  return lines.join('\n')
}
