# bash completion for rota, made by `rota completion bash`
_rota()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}
    local first=2 options verbs='init run validate import export submit status tasks task show attempts why diff review open context mcp log events wait agents leader coordinator health budget doctor limits merge retry approve reject answer tell cancel reopen hold release priority stop pause resume drain up down store backup restore check checkpoint key keygen grant revoke keys config completion man help'
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$verbs --help --version" -- "$word"); return
    fi
    if [[ $verb == context ]]; then
        if ((COMP_CWORD == 2)); then
            mapfile -t COMPREPLY < <(compgen -W 'show list add remove' -- "$word"); return
        fi
        verb=${COMP_WORDS[2]} first=3
    fi
    if [[ $verb == store ]]; then
        if ((COMP_CWORD == 2)); then
            mapfile -t COMPREPLY < <(compgen -W 'backup restore check checkpoint' -- "$word"); return
        fi
        verb=${COMP_WORDS[2]} first=3
    fi
    if [[ $verb == key ]]; then
        if ((COMP_CWORD == 2)); then
            mapfile -t COMPREPLY < <(compgen -W 'new grant revoke list' -- "$word"); return
        fi
        verb=${COMP_WORDS[2]} first=3
    fi
    case $verb:$before in
        *:--state) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
        *:--broker) mapfile -t COMPREPLY < <(:); return ;;
        *:--key) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        *:--connect-timeout) mapfile -t COMPREPLY < <(:); return ;;
        *:--config) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        run:--agent|run:-a) mapfile -t COMPREPLY < <(compgen -W 'exec claude codex acp http command git sim ' -- "$word"); return ;;
        run:--exec|run:-e) mapfile -t COMPREPLY < <(:); return ;;
        run:--command) mapfile -t COMPREPLY < <(:); return ;;
        run:--timeout) mapfile -t COMPREPLY < <(:); return ;;
        run:--budget) mapfile -t COMPREPLY < <(:); return ;;
        export:--source) mapfile -t COMPREPLY < <(:); return ;;
        submit:--id) mapfile -t COMPREPLY < <(:); return ;;
        submit:--title|submit:-t) mapfile -t COMPREPLY < <(:); return ;;
        submit:--after) mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return ;;
        submit:--priority|submit:-p) mapfile -t COMPREPLY < <(:); return ;;
        submit:--agent|submit:-a) mapfile -t COMPREPLY < <(compgen -W 'exec claude codex acp http command git sim ' -- "$word"); return ;;
        submit:--timeout) mapfile -t COMPREPLY < <(:); return ;;
        submit:--attempts) mapfile -t COMPREPLY < <(:); return ;;
        status:--source) mapfile -t COMPREPLY < <(:); return ;;
        status:--epic) mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return ;;
        tasks:--status|tasks:-s) mapfile -t COMPREPLY < <(compgen -W 'pending in_progress needs_review in_review needs_improvement done blocked failed cancelled' -- "$word"); return ;;
        tasks:--in) mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return ;;
        tasks:--epic) mapfile -t COMPREPLY < <(:); return ;;
        tasks:--source) mapfile -t COMPREPLY < <(:); return ;;
        list:--type) mapfile -t COMPREPLY < <(:); return ;;
        list:--task) mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return ;;
        list:--search) mapfile -t COMPREPLY < <(:); return ;;
        list:--limit|list:-n) mapfile -t COMPREPLY < <(:); return ;;
        add:--topic|add:-t) mapfile -t COMPREPLY < <(:); return ;;
        add:--task) mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return ;;
        add:--confidence) mapfile -t COMPREPLY < <(:); return ;;
        mcp:--allow) mapfile -t COMPREPLY < <(:); return ;;
        log:--attempt) mapfile -t COMPREPLY < <(:); return ;;
        log:--tail|log:-n) mapfile -t COMPREPLY < <(:); return ;;
        events:--after) mapfile -t COMPREPLY < <(:); return ;;
        events:--tail|events:-n) mapfile -t COMPREPLY < <(:); return ;;
        events:--task) mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return ;;
        wait:--timeout) mapfile -t COMPREPLY < <(:); return ;;
        health:--epic) mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return ;;
        limits:--rules) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        limits:--provider) mapfile -t COMPREPLY < <(:); return ;;
        limits:--zone) mapfile -t COMPREPLY < <(:); return ;;
        retry:--reason|retry:-m) mapfile -t COMPREPLY < <(:); return ;;
        approve:--reason|approve:-m) mapfile -t COMPREPLY < <(:); return ;;
        reject:--reason|reject:-m) mapfile -t COMPREPLY < <(:); return ;;
        cancel:--reason|cancel:-m) mapfile -t COMPREPLY < <(:); return ;;
        reopen:--reason|reopen:-m) mapfile -t COMPREPLY < <(:); return ;;
        hold:--reason|hold:-m) mapfile -t COMPREPLY < <(:); return ;;
        up:--agent|up:-a) mapfile -t COMPREPLY < <(compgen -W 'exec claude codex acp http command git sim ' -- "$word"); return ;;
        up:--exec|up:-e) mapfile -t COMPREPLY < <(:); return ;;
        up:--command) mapfile -t COMPREPLY < <(:); return ;;
        checkpoint:--limit|checkpoint:-n) mapfile -t COMPREPLY < <(:); return ;;
        new:--out|keygen:--out|new:-o|keygen:-o) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        grant:--name) mapfile -t COMPREPLY < <(:); return ;;
        grant:--agents) mapfile -t COMPREPLY < <(:); return ;;
    esac
    : "$first"
    options=' --json --state --broker --key --insecure --connect-timeout --config --help'
    case $verb in
        init)
            options+=' --force'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -f -- "$word"); return; } ;;
        run)
            options+=' --agent --exec --command --trust-agents --no-auto-resume --timeout --dry-run --detach --wait-human --budget --prune --strict'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -d -S / -- "$word"; compgen -f -X '!*.y?(a)ml' -- "$word"); return; } ;;
        validate)
            options+=' --strict'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -d -S / -- "$word"; compgen -f -X '!*.y?(a)ml' -- "$word"); return; } ;;
        import)
            options+=' --dry-run --prune --strict'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -d -S / -- "$word"; compgen -f -X '!*.y?(a)ml' -- "$word"); return; } ;;
        export)
            options+=' --source'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -f -- "$word"); return; } ;;
        submit)
            options+=' --id --title --after --priority --agent --timeout --attempts --wait'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        status)
            options+=' --source --watch --epic --health --leader'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        tasks)
            options+=' --status --in --epic --source'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        task|show)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        attempts)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        why)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        diff)
            options+=' --stat'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        review)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        open)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        show)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        list)
            options+=' --type --task --search --limit'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        add)
            options+=' --topic --task --confidence'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        remove)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        mcp)
            options+=' --allow --read-only'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        log)
            options+=' --follow --attempt --tail'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        events)
            options+=' --follow --after --tail --task'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        wait)
            options+=' --timeout'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        agents)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        leader)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        coordinator)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        health)
            options+=' --epic'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        budget)
            options+=' --all'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        doctor)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        limits)
            options+=' --rules --provider --zone'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -f -- "$word"); return; } ;;
        merge)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        retry)
            options+=' --reason'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        approve)
            options+=' --reason'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        reject)
            options+=' --reason'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        answer)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        tell)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        cancel)
            options+=' --skip --reason'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        reopen)
            options+=' --reason'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        hold)
            options+=' --reason'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        release)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        priority)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$(rota tasks --json --connect-timeout 1 2>/dev/null | sed -n 's/^.*"id": *"\([^"\\]*\)".*$/\1/p')" -- "$word"); return; } ;;
        stop)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        pause)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        resume)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        drain)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        up)
            options+=' --agent --exec --command --trust-agents --no-auto-resume'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        down)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        backup)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -f -- "$word"); return; } ;;
        restore)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -f -- "$word"); return; } ;;
        check)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        checkpoint)
            options+=' --limit'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        new|keygen)
            options+=' --out --force'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        grant)
            options+=' --name --agents'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        revoke)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        list|keys)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        config)
            options+=' --check'
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        completion)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W 'bash zsh' -- "$word"); return; } ;;
        man)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(:); return; } ;;
        help)
            options+=''
            [[ $word == -* ]] || { mapfile -t COMPREPLY < <(compgen -W "$verbs all" -- "$word"); return; } ;;
    esac
    [[ $word != -* ]] || mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
}
complete -o filenames -F _rota rota
