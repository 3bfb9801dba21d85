# bash completion for annal: what the program's own --help says, so that it is never behind.

# What follows an option in the help: FILE, DIR, USER, ...; nothing for one that takes no value.
_annal_value_of() {
    sed -n "s/.*$1[ =]\([A-Z][A-Z:_]*\).*/\1/p" <<<"$2" | head -n 1
}

# The words that are no options nor their values, up to the cursor.
_annal_arguments() {
    local help=$1 i
    arguments=()
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --*) [ -z "$(_annal_value_of "${COMP_WORDS[i]}" "$help")" ] || i=$((i + 1)) ;;
        -?*) ;;
        *) arguments+=("${COMP_WORDS[i]}") ;;
        esac
    done
}

# Of the data directory that the command line names, if it may be read.
_annal_users() {
    local i where=()
    for ((i = 2; i < COMP_CWORD - 1; i++)); do
        case ${COMP_WORDS[i]} in
        --data | --config) where+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}") ;;
        esac
    done
    "$program" user list "${where[@]}" 2>/dev/null
}

# Of a user, likewise; a branch's name is read as annal-store(5) has it.
_annal_mailboxes() {
    local i name data='' config=/etc/annal/annal.conf
    for ((i = 2; i < COMP_CWORD - 1; i++)); do
        case ${COMP_WORDS[i]} in
        --data) data=${COMP_WORDS[i + 1]} ;;
        --config) config=${COMP_WORDS[i + 1]} ;;
        esac
    done
    [ -n "$data" ] ||
        data=$(sed -n 's/^ *data *= *"\([^"]*\)".*/\1/p' "$config" 2>/dev/null | tail -n 1)
    git -c safe.directory='*' -C "${data:-/var/lib/annal}/mail/$1.git" for-each-ref \
        --format='%(refname:strip=2)' refs/heads 2>/dev/null | while read -r name; do
        name=${name//.//}
        name=${name//_/ }
        printf '%b\n' "${name//\%/\\x}"
    done
}

# Names may have spaces: they are no list of words.
_annal_offer_mailboxes() {
    local name typed=${current#[\"\']}
    typed=${typed//\\/}
    while read -r name; do
        [[ $name != "$typed"* ]] || COMPREPLY+=("$name")
    done < <(_annal_mailboxes "$1")
}

_annal() {
    local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]}
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local help arguments choices=''

    COMPREPLY=()
    program=${program/#\~/$HOME}
    if [ "$COMP_CWORD" -eq 1 ]; then
        choices="$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p')
            --help --version"
        mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
        return
    fi
    help=$("$program" "$command" --help 2>/dev/null) || return
    if [[ $before == --* ]]; then
        case $(_annal_value_of "$before" "$help") in
        '') ;;
        DIR)
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return
            ;;
        FILE | PATH | BUNDLE | BACKUP)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        USER)
            mapfile -t COMPREPLY < <(compgen -W "$(_annal_users)" -- "$current")
            return
            ;;
        *)
            _annal_arguments "$help"
            [ "$before" != --mailbox ] || _annal_offer_mailboxes "${arguments[0]}"
            return
            ;;
        esac
    fi
    if [[ $current == -* ]]; then
        choices=$(grep -oE -- '(^|[^a-zA-Z-])--[a-z][a-z-]*' <<<"$help" | grep -oE -- '--[a-z-]+' |
            sort -u)
        mapfile -t COMPREPLY < <(compgen -W "$choices --help" -- "$current")
        return
    fi
    _annal_arguments "$help"
    # One mailbox comes after the user, or several.
    if [[ ${#arguments[@]} -gt 0 && " ${COMP_WORDS[*]} " != *' --from '*'.bundle '* ]] &&
        grep -qE "annal $command USER \[?MAILBOX" <<<"$help" &&
        { [ ${#arguments[@]} -eq 1 ] || grep -qF 'MAILBOX...' <<<"$help"; }; then
        _annal_offer_mailboxes "${arguments[0]}"
        return
    fi
    case $command/${#arguments[@]} in
    user/0) choices=$(sed -n 's/.*annal user \([a-z]*\).*/\1/p' <<<"$help") ;;
    user/1) [ "${arguments[0]}" = add ] || choices=$(_annal_users) ;;
    import/1) choices='maildir mbox takeout' ;;
    import/2 | backup/1 | restore/[1-9]*)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    */0)
        # The first argument is a user wherever the usage says so.
        grep -qE "^(usage:| +) *annal $command \(?USER" <<<"$help" && choices=$(_annal_users)
        ;;
    *)
        grep -qE "annal $command \(?USER\.\.\." <<<"$help" && choices=$(_annal_users)
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}

complete -o filenames -F _annal annal
