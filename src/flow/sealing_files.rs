//! The files of sealing keys, after another one has come to seal.

use std::path::Path;

use crate::domain::ids::SealingKeyId;
use crate::flow::{keyfile, sealing};
use crate::host::{Given, Place};

/// What was done with files, and what is left for the operator to do.
#[derive(Debug, Default)]
pub(super) struct Tidied {
    /// What was done.
    pub(super) files: Vec<String>,
    /// What is left.
    pub(super) to_do: Vec<String>,
}

/// Puts the new key's file in the place of the old one, which is kept under its name, and says what only the operator can do.
pub(super) fn tidy(given: &Given, to: &SealingKeyId) -> Tidied {
    let mut tidied = Tidied::default();
    let Given { folder, main, next, .. } = given;
    if let Place::File(file) = &main.place
        && main.key.id() != to
    {
        let kept = sealing::old_path(folder, main.key.id());
        match keyfile::keep(file, &kept) {
            Ok(true) => tidied.files.push(format!("kept the old sealing key as {}", kept.display())),
            Ok(false) => {}
            // It is never written over before that.
            Err(error) => {
                let both = format!("keep {} as {}, and then run this again ({error})", file.display(), kept.display());
                tidied.to_do.push(both);
                return tidied;
            }
        }
    }
    let Some(next) = next.as_ref().filter(|next| next.key.id() == to) else { return tidied };
    match (&main.place, &next.place) {
        _ if main.key.id() == to => tidied.to_do.push(format!("take away {}, which is the same as {}", next.place, main.place)),
        (Place::File(file), Place::File(new)) => move_file(new, file, &mut tidied),
        (Place::Command(old), Place::File(new)) => tidied.to_do.push(format!(
            "take {old} out of the configuration and rename {} to {}, before the next start or reload",
            new.display(),
            sealing::path(folder).display()
        )),
        (Place::File(file), Place::Command(new)) => tidied.to_do.push(format!(
            "give what {new} is to sealing_key_command, take {new} out of the configuration, and then take {} away",
            file.display()
        )),
        (Place::Command(old), Place::Command(new)) => tidied.to_do.push(format!(
            "give what {new} is to {old} and take {new} out of the configuration, or leave both as they are for as long as browsers that the \
             old key knows should be known"
        )),
    }
    tidied
}

fn move_file(new: &Path, file: &Path, tidied: &mut Tidied) {
    match keyfile::replace(new, file) {
        Ok(()) => tidied.files.push(format!("{} is the new sealing key: keep a copy", file.display())),
        Err(error) => tidied.to_do.push(format!("rename {} to {} ({error})", new.display(), file.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::host::Placed;
    use crate::jose::SealingKey;

    /// As where a folder is only read.
    #[test]
    fn an_old_key_that_cannot_be_kept_is_not_written_over() {
        let folder = tempfile::TempDir::new().unwrap();
        let folder = folder.path().to_owned();
        let placed = |byte: u8, path: PathBuf| {
            let key = Arc::new(SealingKey::from_bytes(&[byte; 32]).unwrap());
            Placed { key, place: Place::File(path) }
        };
        let main = placed(1, sealing::path(&folder));
        let next = placed(2, sealing::next_path(&folder));
        std::fs::write(sealing::next_path(&folder), [2; 32]).unwrap();
        let (from, to) = (main.key.id().clone(), next.key.id().clone());
        let given = Given { folder: folder.clone(), main, next: Some(next), old: Vec::new(), device: None };
        // There is nothing to link to.
        let report = tidy(&given, &to);
        assert!(sealing::next_path(&folder).exists() && !sealing::path(&folder).exists());
        assert!(report.files.is_empty() && report.to_do.len() == 1, "{report:?}");
        assert!(report.to_do[0].contains(&format!("sealing-{from}.key")), "{report:?}");
        std::fs::write(sealing::path(&folder), [1; 32]).unwrap();
        tidy(&given, &to);
        assert_eq!(std::fs::read(sealing::path(&folder)).unwrap(), [2; 32]);
        assert_eq!(std::fs::read(sealing::old_path(&folder, &from)).unwrap(), [1; 32]);
    }
}
