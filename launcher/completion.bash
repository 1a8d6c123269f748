# Completion of the goshim command, for bash.

# What --help of a command lists: words that begin with a dash, without values.
_goshim_options() {
  goshim "$1" --help 2>/dev/null | grep -oE '^ +(-[a-z], )?(-[a-z] *$|--[a-z-]+)|^ +-[a-z]\b' | grep -oE -- '--?[a-z-]+'
  echo --help
}

# Those of them whose value is a word of its own.
_goshim_options_with_value() {
  goshim "$1" --help 2>/dev/null | sed -nE 's/^ +((-[a-z], )?--?[a-z-]+)[= ][A-Z]+.*$/\1/p' | tr , ' '
}

# Processes of the user.
_goshim_pids() {
  local folder
  for folder in /proc/[0-9]*; do
    [[ -O $folder ]] && echo "${folder#/proc/}"
  done
}

_goshim() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} i valued
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "$(goshim --help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p') --help --version" -- "$word"))
    return
  fi
  # "=" is a word of its own.
  if [[ $previous == = || $word == = ]]; then
    [[ $word == = ]] && word=
    COMPREPLY=($(compgen -W "on off" -- "$word"))
    return
  fi
  valued=" $(_goshim_options_with_value "$command" | tr '\n' ' ') "
  case $command in
  run | compare | trace)
    # Behind the options stands a command line, with a completion of its own.
    for ((i = 2; i < COMP_CWORD; i++)); do
      case ${COMP_WORDS[i]} in
      --) ((i++)) && break ;;
      -*)
        if [[ ${COMP_WORDS[i + 1]} == = ]]; then
          ((i += 2))
        elif [[ $valued == *" ${COMP_WORDS[i]} "* ]]; then
          ((i++))
        fi
        ;;
      *) break ;;
      esac
    done
    if ((i > COMP_CWORD)); then
      COMPREPLY=($(compgen -f -- "$word"))
    elif ((i < COMP_CWORD)) && declare -F _command_offset >/dev/null; then
      _command_offset "$i"
    elif ((i < COMP_CWORD)); then
      COMPREPLY=($(compgen -f -- "$word"))
    elif [[ $word == -* ]]; then
      COMPREPLY=($(compgen -W "$(_goshim_options "$command")" -- "$word"))
    else
      COMPREPLY=($(compgen -c -f -- "$word"))
    fi
    ;;
  *)
    if [[ $word == -* ]]; then
      COMPREPLY=($(compgen -W "$(_goshim_options "$command")" -- "$word"))
    elif [[ $command != options && $valued != *" $previous "* ]]; then
      COMPREPLY=($(compgen -W "$(_goshim_pids)" -- "$word"))
    fi
    ;;
  esac
}

complete -o bashdefault -F _goshim goshim
