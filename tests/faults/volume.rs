//! File systems that the tests make, to fill, freeze and break them. They take root and
//! loop devices. Where a machine has none, a test is skipped, and says so.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// A mounted file system, which goes with the test.
pub struct Volume {
    /// Where it is mounted.
    pub path: PathBuf,
    device: Option<String>,
    /// The folder of what lies under it, itself a small file system if it is to run full.
    below: Option<Box<Volume>>,
    _directory: TempDir,
}

impl Volume {
    /// A file system in memory of so many MiB.
    pub fn in_memory(mebibytes: u64) -> Result<Self, String> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().to_owned();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs", text(&path)])?;
        Ok(Self { path, device: None, below: None, _directory: directory })
    }

    /// An ext4, as on a disk.
    pub fn on_disk() -> Result<Self, String> {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("image");
        Self::loopback(directory, &image, None, "ext4")
    }

    /// An ext4 of 64 MiB on a disk that can hold only so many of them, as storage that was
    /// promised and is not there: to sync what is past them is an error, and to write and sync
    /// it again may be none, though the disk does not have it.
    pub fn on_thin_disk(mebibytes: u64) -> Result<Self, String> {
        let below = Self::in_memory(mebibytes)?;
        let image = below.path.join("image");
        Self::loopback(TempDir::new().unwrap(), &image, Some(Box::new(below)), "ext4")
    }

    fn loopback(
        directory: TempDir,
        image: &Path,
        below: Option<Box<Self>>,
        kind: &str,
    ) -> Result<Self, String> {
        File::create(image).unwrap().set_len(64 * MIB).unwrap();
        let device = run("losetup", &["--find", "--show", text(image)])?;
        let path = directory.path().join("volume");
        fs::create_dir(&path).unwrap();
        // From here on the device is given back.
        let volume = Self { path, device: Some(device), below, _directory: directory };
        if volume.below.is_some() {
            // One page at a time: of more, Linux's loop device would report as written what it
            // could write a part of.
            let name = volume.device().trim_start_matches("/dev/");
            let most = format!("/sys/block/{name}/queue/max_sectors_kb");
            fs::write(most, "4").map_err(|error| error.to_string())?;
        }
        run(&format!("mkfs.{kind}"), &["-q", "-m", "0", "-b", "4096", volume.device()])?;
        volume.mount()?;
        Ok(volume)
    }

    fn device(&self) -> &str {
        self.device.as_deref().unwrap()
    }

    pub fn mount(&self) -> Result<(), String> {
        run("mount", &[self.device(), text(&self.path)]).map(drop)
    }

    pub fn unmount(&self) {
        run("umount", &[text(&self.path)]).unwrap();
    }

    /// From now on every write and every sync waits, until what this gives is dropped.
    pub fn freeze(&self) -> Frozen<'_> {
        run("fsfreeze", &["--freeze", text(&self.path)]).unwrap();
        Frozen(self)
    }

    /// What was not synced is lost, as if the power had failed.
    pub fn lose_power(&self) -> Result<(), String> {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
        let shut_down = "import fcntl, os, struct, sys\n\
                         folder = os.open(sys.argv[1], os.O_RDONLY)\n\
                         fcntl.ioctl(folder, 0x8004587D, struct.pack('I', 2))\n";
        run("python3", &["-c", shut_down, text(&self.path)]).map(drop)
    }

    /// Leaves no room.
    pub fn fill(&self) {
        let folder = self.below.as_ref().map_or(&self.path, |below| &below.path);
        // All that is left, in one file; the last bytes one by one.
        run("dd", &["if=/dev/zero", "bs=1M", &format!("of={}/filler", text(folder))]).unwrap_err();
        run("dd", &["if=/dev/zero", "bs=1", &format!("of={}/more", text(folder))]).unwrap_err();
    }

    /// Leaves room again.
    pub fn empty(&self) {
        let folder = self.below.as_ref().map_or(&self.path, |below| &below.path);
        fs::remove_file(folder.join("filler")).unwrap();
        fs::remove_file(folder.join("more")).unwrap();
    }
}

/// A volume that hangs. Nobody can end a process that waits for it.
pub struct Frozen<'a>(&'a Volume);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run("fsfreeze", &["--unfreeze", text(&self.0.path)]).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let path = text(&self.path);
        if let Some(device) = &self.device {
            let _ = run("umount", &["--lazy", path]);
            let _ = run("losetup", &["--detach", device]);
        } else {
            let _ = run("umount", &["--lazy", path]);
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a program, and gives what it prints, or why it failed.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let ran = Command::new(program).args(arguments).output();
    let ran = ran.map_err(|error| format!("{program}: {error}"))?;
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if ran.status.success() {
        Ok(told(&ran.stdout))
    } else {
        Err(format!("{program} {}: {}", arguments.join(" "), told(&ran.stderr)))
    }
}
