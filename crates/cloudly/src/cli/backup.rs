//! `cloudly backup` and `cloudly restore`.

use super::arguments::{Global, PepperFile};
use super::output::{self, Outcome, time};
use clap::Args;
use cloudly_baseos::Clock;
use cloudly_baseos::maintenance::{self, Backup, Restore, Restored, RestoredTable, TakenBackup};
use std::error::Error;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write; `FILE.part` until it is whole
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Take the place of a file that is there
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    pepper: PepperFile,
    /// Leave the pepper out: it has to be kept elsewhere
    #[arg(long)]
    without_pepper: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Take the place of what is in the database; a file of SQLite is kept beside
    #[arg(long)]
    replace: bool,
    /// Nodes follow the targets of the backup, though they may have seen later ones
    #[arg(long)]
    apply_targets: bool,
    /// Restore a backup in which something is wrong
    #[arg(long)]
    accept_findings: bool,
    /// Try everything and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pepper: PepperFile,
}

pub(super) async fn take(args: BackupArgs, global: &Global) -> Outcome {
    let pepper_file = args.pepper.path(global)?;
    let backup = Backup {
        database: global.database()?,
        pepper_file: (!args.without_pepper).then_some(pepper_file),
        to: args.to,
        overwrite: args.overwrite,
    };
    let taken = maintenance::take(&backup, Clock::system().now()).await?;
    if global.json {
        return output::json(&taken);
    }
    let TakenBackup {
        taken_at,
        bytes,
        rows,
        with_pepper,
        ..
    } = taken;
    let rows: u64 = rows.values().sum();
    output::line(&format!(
        "{}: {rows} rows of {}, {} KiB",
        time(taken_at),
        backup.database,
        bytes.div_ceil(1024)
    ))?;
    output::line(&format!(
        "{} holds secrets of releases{}: keep it where nobody else reads it",
        backup.to.display(),
        if with_pepper {
            " and the pepper"
        } else {
            ", and not the pepper, which is to be kept beside it"
        }
    ))
}

pub(super) async fn restore(args: RestoreArgs, global: &Global) -> Outcome {
    let restore = Restore {
        from: args.from,
        database: global.database()?,
        pepper_file: args.pepper.path(global)?,
        replace: args.replace,
        apply_targets: args.apply_targets,
        accept_findings: args.accept_findings,
        dry_run: args.dry_run,
    };
    let restored = maintenance::restore(&restore, Clock::system().now()).await?;
    if global.json {
        return output::json(&restored);
    }
    let row = |table: &RestoredTable| {
        [
            table.name.clone(),
            table.in_backup.to_string(),
            table.in_database.to_string(),
        ]
    };
    let headers = ["TABLE", "IN THE BACKUP", "IN THE DATABASE"];
    output::list(false, &restored.tables, headers, row, "the backup has no tables")?;
    output::line("")?;
    super::db::print_findings(&restored.findings)?;
    tell(&restore, &restored)
}

fn tell(restore: &Restore, restored: &Restored) -> Result<(), Box<dyn Error>> {
    let at = time(restored.taken_at);
    if restore.dry_run {
        return output::line(&format!(
            "the backup of {at} can be restored into {}; nothing was changed",
            restore.database
        ));
    }
    output::line(&format!(
        "the backup of {at} is restored into {}",
        restore.database
    ))?;
    if restored.wrote_pepper {
        output::line(&format!("its pepper is in {}", restore.pepper_file.display()))?;
    }
    if let Some(kept) = &restored.kept {
        output::line(&format!("what was there before is kept in {}", kept.display()))?;
    }
    output::line("start the server, then:")?;
    output::line(&format!(
        "  - nodes that enrolled after {at} are refused: `cloudly node refused` lists them, with what brings them back"
    ))?;
    output::line(
        "  - what operators did since is undone: look at `cloudly node list`, and at `cloudly token list` for tokens that were \
         revoked",
    )?;
    output::line(if restore.apply_targets {
        "  - all nodes follow the targets of the backup now"
    } else {
        "  - nodes keep what they run; `cloudly desired show` says what the backup wants, and the next `cloudly desired set` \
         counts for all of them"
    })
}
